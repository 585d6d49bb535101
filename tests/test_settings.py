from typing import Any

import pytest

from swagent.errors import SettingsError
from swagent.model import Selection
from swagent.parser import read_libconfig
from swagent.settings import (
    AUTO,
    KEYS,
    KNOWN_KEYS,
    InstallSettings,
    UpdateType,
    from_config,
    from_environ,
    layer,
    read_selection,
    table,
    with_pairs,
)

WHERE = "/etc/swupdate.cfg"


def read(text: str, **more: Any) -> tuple[InstallSettings, list[str]]:
    return from_config(read_libconfig(text.encode(), where=WHERE), where=WHERE, **more)


def problem(text: str, **more: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read(text, **more)
    return caught.value


FULL = """
globals : {
    verbose = true; loglevel = 3; syslog = true; bootloader = "uboot"; public-key-file = "/etc/key.pem";
    crl-path = "/etc/crl.pem"; decryption-key-file = "/etc/aes"; cert-purpose = "codeSigning";
    forced-signer-name = "me"; select = "stable,copy2"; digest-provider = "opensslCMS";
    fwenv-config-location = "/etc/fw.config"; namespace-vars = "app"; gen-swversions = "/var/sw-versions";
    update-type-required = true; sw-description-max-size = 1000;
    preupdatecmd = "/bin/pre"; postupdatecmd = "/bin/post"; no-downgrading = "1.0"; max-version = "3";
    no-reinstalling = "2.0"; reboot = "disabled"; mtd-blacklist = "0 3";
};
update-types : (
    { name = "kernel"; postupdatecmd = "reboot"; reboot = "enabled"; },
    { name = "kernel"; postupdatecmd = "ignored"; }
);
versions : ( { name = "boot"; version = "1"; }, { name = "boot"; version = "2"; } );
"""


@pytest.mark.parametrize("text", ['( "/a.pem", "/b.pem" )', '[ "/a.pem", "/b.pem" ]'])
@pytest.mark.parametrize("name", ["public-key-file", "ca-path"])
def test_several_keys(name: str, text: str) -> None:
    found, _ = read(f"globals : {{ {name} = {text}; }};")
    assert found.public_key_files == ("/a.pem", "/b.pem")


def test_every_key_in_use_arrives() -> None:
    found, ignored = read(FULL)
    assert ignored == []
    assert found == InstallSettings(
        mtd_blacklist=frozenset({0, 3}),
        namespace_vars="app",
        public_key_files=("/etc/key.pem",),
        digest_provider="opensslCMS",
        cert_purpose="codeSigning",
        forced_signer_name="me",
        crl_path="/etc/crl.pem",
        aes_key_file="/etc/aes",
        bootloader="uboot",
        select=Selection("stable", "copy2"),
        fwenv_config_location="/etc/fw.config",
        gen_swversions="/var/sw-versions",
        update_type_required=True,
        description_size_max_bytes=1000,
        loglevel=3,
        syslog=True,
        update_types={
            "default": UpdateType("default", "/bin/pre", "/bin/post", "1.0", "3", "2.0", False),
            "kernel": UpdateType("kernel", postupdatecmd="reboot", reboot=True),
        },
        versions=(("boot", "1"), ("boot", "2")),
        origins=found.origins,
    )
    set_here = {key for key in KEYS if key in found.origins}
    ours = {key for key in KEYS if key in KNOWN_KEYS["swagent"] or "." in key}  # see below
    assert set(KEYS) - set_here - ours == {"verbose"}


DOWNLOAD = """
globals : { };
download : {
    url = "https://host/update.swu"; authentication = "device:secret"; retries = 7; retrywait = "9"; timeout = 60;
    max-download-speed = "2M"; nocheckcert = true; cafile = "/ca"; sslcert = "/cert"; sslkey = "/key";
    sslkeypassword = "open"; ciphers = "HIGH"; proxy = "http://me:too@proxy:3128"; interface = "eth0";
    api_key_header = "X-Key"; api_key = "hidden"; user = "fetcher"; group = "net"; userid = 7; groupid = 8; retry = 1;
};
"""


def test_how_to_fetch_arrives() -> None:
    found, ignored = read(DOWNLOAD)
    assert ignored == [f"{WHERE}: download.retry is not used"]
    assert found.download == {
        "url": "https://host/update.swu",
        "authentication": "device:secret",
        "retries": 7,
        "retrywait": 9,
        "timeout": 60,
        "max-download-speed": 2 * 1024 * 1024,
        "nocheckcert": True,
        "cafile": "/ca",
        "sslcert": "/cert",
        "sslkey": "/key",
        "sslkeypassword": "open",
        "ciphers": "HIGH",
        "proxy": "http://me:too@proxy:3128",
        "interface": "eth0",
        "api_key_header": "X-Key",
        "api_key": "hidden",
        "user": "fetcher",
        "group": "net",
        "userid": 7,
        "groupid": 8,
    }
    assert {f"download.{key}" for key in found.download} == {
        key for key in KEYS if key.startswith("download.")
    }
    shown = "\n".join(" ".join(row) for row in table(found))
    assert f"download.retries 7 {WHERE}:download.retries" in shown
    assert not any(secret in shown for secret in ("secret", "open", "too", "hidden"))
    over = from_environ(
        {"SWAGENT_DOWNLOAD_RETRIES": "1", "SWAGENT_DOWNLOAD_MAX_DOWNLOAD_SPEED": "0"}, base=found
    )
    assert (over.download["retries"], over.download["max-download-speed"]) == (1, 0)
    assert over.download["cafile"] == "/ca"


def test_how_to_fetch_parts_arrives() -> None:
    found, ignored = read(
        'globals : { }; delta : { targettoken = "t"; gatewaytoken = "g"; retry = 7; retrywait = "9"; cafile = "/ca"; '
        'max-download-speed = "1k"; nocheckcert = true; proxy = "http://me:too@proxy:3128"; interface = "eth0"; };'
    )
    assert ignored == []
    assert found.delta == {
        "targettoken": "t",
        "gatewaytoken": "g",
        "retry": 7,
        "retrywait": 9,
        "cafile": "/ca",
        "max-download-speed": 1024,
        "nocheckcert": True,
        "proxy": "http://me:too@proxy:3128",
        "interface": "eth0",
    }
    assert not found.download
    shown = "\n".join(" ".join(row) for row in table(found))
    assert f"delta.retry 7 {WHERE}:delta.retry" in shown
    assert "delta.targettoken (set)" in shown and "too" not in shown
    assert from_environ({"SWAGENT_DELTA_RETRY": "1"}, base=found).delta["retry"] == 1
    for line in ("retry = -1;", "retries = 3;", "timeout = 3;", 'retry = "3";'):
        with pytest.raises(SettingsError):
            read(f"globals : {{ }}; delta : {{ {line} }};")


@pytest.mark.parametrize(
    "line",
    ["retries = -1;", "retries = 1001;", 'retries = "3";', "timeout = 0;", 'retrywait = "soon";',
     'max-download-speed = "fast";', 'max-download-speed = "-1";', "cafile = 1;", "nocheckcert = 1;"],
)  # fmt: skip
def test_how_to_fetch_is_judged(line: str) -> None:
    with pytest.raises(SettingsError):
        read(f"globals : {{ }}; download : {{ {line} }};")


OURS = """
globals : { select = "auto"; };
swagent : {
    battery-min-percent = 30;
    consent-command = "/usr/bin/ask --now";
    verify-write = true;
    state-directory = "/data/swagent";
    confirm-bootenv = "upgrade_available=0 bootcount=";
    confirm-fail-bootenv = "bootcount=99";
    version-floor = true;
    slots : (
        { selection = "stable,copy1"; device = "/dev/mmcblk0p2"; },
        { selection = "stable,copy2"; device = "/dev/mmcblk0p3"; }
    );
};
"""


def test_the_group_that_is_ours() -> None:
    found, ignored = read(OURS)
    assert not ignored
    assert (found.battery_min_percent, found.consent_command) == (30, "/usr/bin/ask --now")
    assert found.verify_write
    assert found.state_directory == "/data/swagent"
    assert found.confirm_bootenv == ("upgrade_available=0", "bootcount=")
    assert found.confirm_fail_bootenv == ("bootcount=99",)
    assert found.version_floor
    assert found.select == AUTO
    first, second = Selection("stable", "copy1"), Selection("stable", "copy2")
    assert found.slots == ((first, "/dev/mmcblk0p2"), (second, "/dev/mmcblk0p3"))
    rows = {key: (value, origin) for key, value, origin in table(found)}
    assert rows["select"] == ("auto", f"{WHERE}:globals.select")
    assert rows["battery-min-percent"] == ("30", f"{WHERE}:swagent.battery-min-percent")
    told = "stable,copy1=/dev/mmcblk0p2 stable,copy2=/dev/mmcblk0p3"
    assert rows["slots"] == (told, f"{WHERE}:swagent.slots")
    assert from_environ({"SWAGENT_VERIFY_WRITE": "no"}, base=found).verify_write is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("battery-min-percent = 101;", "from 0 to 100"),
        ("battery-min-percent = -1;", "from 0 to 100"),
        ('battery-min-percent = "30";', "whole number"),
        ("battery-min = 30;", "unknown key"),
        ("slots : ();", "1 to 64 groups"),
        ("slots = 3;", "1 to 64 groups"),
        ("slots = [ 1 ];", "must be a group"),
        ('slots : ( { device = "/dev/a"; } );', "is not a selection|selection is missing"),
        ('slots : ( { selection = "a,b"; } );', "device is missing"),
        ('slots : ( { selection = "copy1"; device = "/dev/a"; } );', "is not a selection"),
        ('slots : ( { selection = "a,b"; device = "/dev/a"; size = 1; } );', "unknown key"),
    ],
)
def test_what_the_group_that_is_ours_refuses(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read("globals : { }; swagent : { " + text + " };")


def test_an_empty_group_leaves_the_defaults() -> None:
    found, ignored = read("globals : { };")
    assert (found, ignored) == (InstallSettings(), [])
    assert found.update_types == {"default": UpdateType("default")}
    assert found.loglevel is None
    assert found.versions is None


def test_globals_may_be_missing_in_a_fragment_only() -> None:
    assert "globals is missing" in problem("").message
    assert read("", globals_required=False)[0] == InstallSettings()


@pytest.mark.parametrize(
    ("text", "level"), [("verbose = true;", 5), ("verbose = false;", None), ("loglevel = 0;", 0)]
)
def test_how_much_is_told(text: str, level: int | None) -> None:
    assert read(f"globals : {{ {text} }};")[0].loglevel == level


@pytest.mark.parametrize(("given", "size_bytes"), [(0, 64 << 20), (1 << 40, 64 << 20), (5000, 5000)])
def test_a_description_is_never_unbounded(given: int, size_bytes: int) -> None:
    found, _ = read(f"globals : {{ sw-description-max-size = {given}; }};")
    assert found.description_size_max_bytes == size_bytes


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('globals : { selct = "a,b"; };', f"{WHERE}:globals: unknown key 'selct'", "did you mean select?"),
        ("global : { };", "globals is missing", ""),
        ("globals : { }; webservr : { };", "unknown group 'webservr'", "did you mean webserver?"),
        (
            "globals : { }; webserver : { timeot = 1; };",
            "webserver: unknown key 'timeot'",
            "did you mean timeout?",
        ),
        ("globals = 1;", "globals must be a group", "write globals"),
        ("globals : { }; versions : { };", "versions must be a list", "write versions"),
        ("globals : { }; versions : ( 1 );", "versions[0] must be a group", ""),
        ("globals : { bootloader = 1; };", "bootloader must be a text", 'write bootloader = "1";'),
        (
            'globals : { syslog = "true"; };',
            "syslog must be true or false",
            "write syslog = true; without quotes",
        ),
        (
            'globals : { loglevel = "3"; };',
            "loglevel must be a whole number",
            "write loglevel = 3; without quotes",
        ),
        ("globals : { loglevel = true; };", "loglevel must be a whole number", ""),
        ("globals : { loglevel = 6; };", "loglevel goes from 0 to 5", ""),
        ("globals : { sw-description-max-size = -1; };", "is negative", ""),
        ('globals : { cert-purpose = "any"; };', "cert-purpose is 'any'", "emailProtection"),
        (
            'globals : { select = "stable"; };',
            f"{WHERE}:globals.select: 'stable' is not a selection",
            "stable,copy2",
        ),
        ('globals : { reboot = "yes"; };', "reboot is 'yes'", "enabled"),
        ("globals : { reboot = true; };", "reboot must be a text", ""),
        ('globals : { bootloader = "' + "x" * 256 + '"; };', "longer than 255", ""),
        ('globals : { ca-path = "a"; public-key-file = "a"; };', "the same setting", "remove one"),
        ("globals : { public-key-file = ( ); };", "list without a text", ""),
        ('globals : { public-key-file = ( "a", "" ); };', "with an empty one", ""),
        ('globals : { public-key-file = ( "a", 1 ); };', "must be a text", ""),
        ('globals : { crl-path = ( "a" ); };', "must be a text", ""),
        (
            'globals : { }; update-types : ( { reboot = "enabled"; } );',
            "update-types[0]: name is missing",
            "",
        ),
        (
            'globals : { }; update-types : ( { name = "a"; max-versoin = "1"; } );',
            "'max-versoin'",
            "max-version",
        ),
        ('globals : { }; update-types : ( { name = "a"; reboot = "x"; } );', "reboot is 'x'", ""),
        ('globals : { }; versions : ( { name = "a"; } );', "versions[0]: version is missing", ""),
        (
            'globals : { }; suricatta : { polldelay = "1"; };',
            "suricatta: polldelay must be a whole number",
            "",
        ),
        ("globals : { }; download : { retry = 1.5; };", "retry must be a whole number", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str, hint: str) -> None:
    error = problem(text)
    assert message in error.message
    assert error.message.startswith(WHERE)
    assert hint in error.hint


SERVERS = """
globals : { };
suricatta : { enable = false; server = "hawkbit"; retrywait = 5; max-download-speed = "1k"; userid = 7; };
hawkbit : { tenant = "default"; id = "unit-1"; polldelay = 60; connection-timeout = 20; usetokentodwl = false; };
gservice : { url = "https://host/ask"; logevent : ( { event = "fail"; format = "date,fw"; } ); };
identify : ( { name = "board"; value = "gateway"; }, { name = "empty"; value = ""; } );
custom-http-headers : ( { name = "X-Fleet:"; value = "north"; } );
"""


def test_servers_that_tell_of_updates_arrive() -> None:
    found, ignored = read(SERVERS)
    assert ignored == []
    assert found.suricatta == {
        "enable": False,
        "server": "hawkbit",
        "retrywait": 5,
        "max-download-speed": 1024,
        "userid": 7,
    }
    assert found.hawkbit["polldelay"] == 60 and found.hawkbit["usetokentodwl"] is False
    assert found.gservice == {"url": "https://host/ask"}
    assert found.logevent == (("fail", "date,fw"),)
    assert found.identify == (("board", "gateway"), ("empty", ""))
    assert found.custom_http_headers == (("X-Fleet", "north"),)
    rows = {row[0]: row[1:] for row in table(found)}
    assert rows["identify"] == ("board=gateway empty=", f"{WHERE}:identify")
    assert rows["custom-http-headers"][0] == "X-Fleet=(set)"
    assert rows["hawkbit.id"] == ("unit-1", f"{WHERE}:hawkbit.id")
    over = with_pairs(found, "identify", (("board", "other"), ("x", "1")), origin="-u")
    assert dict(over.identify) == {"board": "other", "empty": "", "x": "1"}
    assert from_environ({"SWAGENT_HAWKBIT_TARGETTOKEN": "t"}, base=found).hawkbit["targettoken"] == "t"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("identify : { };", "identify must be a list of groups"),
        ("identify : ( 1 );", "identify[0] must be a group"),
        ('identify : ( { nam = "x"; } );', "unknown key 'nam'"),
        ('identify : ( { value = "x"; } );', "name is missing"),
        ('custom-http-headers : ( { name = "a b"; value = "x"; } );', "make no header"),
        ('custom-http-headers : ( { name = "a"; value = "x\\ny"; } );', "make no header"),
        ("gservice : { logevent : 1; };", "gservice.logevent must be a list"),
        ("hawkbit : { polldelay = -1; };", "polldelay goes from 0"),
        ("hawkbit : { connection-timeout = 0; };", "connection-timeout goes from 1"),
    ],
)
def test_what_is_wrong_about_servers_is_refused(text: str, message: str) -> None:
    assert message in problem(f"globals : {{ }}; {text}").message


def test_keys_of_swupdate_that_are_not_used_are_told() -> None:
    found, ignored = read(
        """globals : { gpg-home-dir = "x"; hash-provider = "x"; bootloader = "none"; };
        webserver : { document_root = "/w"; listening_ports = 8080; };
        hawkbit : { retrywait = 5; userid = 7; };
        wfx : { anything = ( 1, 2 ); };
        """
    )
    assert [text.removeprefix(f"{WHERE}: ").split()[0] for text in ignored] == [
        "globals.gpg-home-dir",
        "globals.hash-provider",
        "hawkbit.userid",
        "wfx",
    ]
    assert found.bootloader == "none"
    assert "gpg-home-dir" not in found.origins


def test_the_table_knows_the_keys_of_the_shipped_example() -> None:
    assert {"globals", "suricatta", "webserver", "download", "logcolors", "processes", "identify"} <= set(
        KNOWN_KEYS
    )
    assert KNOWN_KEYS["suricatta"]["retrywait"] == KNOWN_KEYS["webserver"]["listening_ports"] == "S"


# -- layers


def test_the_later_layer_wins_key_by_key() -> None:
    found, _ = read(
        'globals : { select = "a,b"; bootloader = "uboot"; postupdatecmd = "x"; max-version = "9"; };'
    )
    found, _ = from_config(
        {"globals": {"bootloader": "grub", "max-version": "8"}},
        where="/etc/conf.d/1.cfg",
        base=found,
        globals_required=False,
    )
    found = from_environ(
        {"SWAGENT_SELECT": "c,d", "SWAGENT_SYSLOG": "yes", "HOME": "/", "SWAGENT_X": "1"},
        base=found,
        others=("SWAGENT_X",),
    )
    found = layer(
        found,
        {"select": "e,f", "loglevel": 4, "public-key-file": ["k1", "k2"]},
        origins={"select": "--select", "loglevel": "-l", "public-key-file": "-k"},
    )
    assert found.select == Selection("e", "f")
    assert (found.bootloader, found.syslog, found.loglevel) == ("grub", True, 4)
    assert found.public_key_files == ("k1", "k2")
    assert found.update_types["default"] == UpdateType("default", postupdatecmd="x", max_version="8")
    assert found.origins == {
        "select": "--select",
        "bootloader": "/etc/conf.d/1.cfg:globals.bootloader",
        "postupdatecmd": f"{WHERE}:globals.postupdatecmd",
        "max-version": "/etc/conf.d/1.cfg:globals.max-version",
        "syslog": "SWAGENT_SYSLOG",
        "loglevel": "-l",
        "public-key-file": "-k",
    }


def test_layers_leave_their_base_alone() -> None:
    base = InstallSettings()
    layer(base, {"max-version": "1", "select": "a,b"}, origins="x")
    assert base == InstallSettings()
    assert base.update_types == {"default": UpdateType("default")}


def test_a_later_file_replaces_an_update_type() -> None:
    found, _ = read(
        'globals : { reboot = "disabled"; }; update-types : ( { name = "k"; max-version = "1"; } );'
    )
    later = {"update-types": ({"name": "k", "reboot": "enabled"}, {"name": "default", "max-version": "2"})}
    found, _ = from_config(later, where="c", base=found, globals_required=False)
    assert found.update_types["k"] == UpdateType("k", reboot=True)
    assert found.update_types["default"] == UpdateType("default", max_version="2", reboot=False)


@pytest.mark.parametrize("given", [5, 2])
def test_a_number_says_more_than_the_switch(given: int) -> None:
    found = layer(InstallSettings(), {"loglevel": given, "verbose": True}, origins="command line")
    assert found.loglevel == given
    assert layer(found, {"verbose": True}, origins="-v").loglevel == 5
    assert layer(found, {"verbose": True}, origins="-v").origins["loglevel"] == "-v"


def test_a_layer_refuses_what_it_does_not_know() -> None:
    with pytest.raises(SettingsError, match="-x: unknown setting 'selekt'") as caught:
        layer(InstallSettings(), {"selekt": "a"}, origins="-x")
    assert caught.value.hint == "did you mean select?"
    with pytest.raises(SettingsError, match="unknown setting"):
        layer(InstallSettings(), {"gpg-home-dir": "/"}, origins="-b")
    with pytest.raises(SettingsError, match="must be a text"):
        layer(InstallSettings(), {"public-key-file": ["k", 1]}, origins="-k")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SWAGENT_SELEKT", "a,b", "unknown environment variable SWAGENT_SELEKT"),
        ("SWAGENT_GPG_HOME_DIR", "/", "unknown environment variable"),
        ("SWAGENT_MTD_BLACKLIST", "0 kernel", "'kernel' is no number of an MTD"),
        ("SWAGENT_SYSLOG", "on", "SWAGENT_SYSLOG: 'on' is neither"),
        ("SWAGENT_LOGLEVEL", "-1", "SWAGENT_LOGLEVEL: '-1' is not a whole number"),
        ("SWAGENT_LOGLEVEL", "7", "loglevel goes from 0"),
        ("SWAGENT_SELECT", "a", "SWAGENT_SELECT: 'a' is not a selection"),
        ("SWAGENT_BOOTLOADER", "\udcff" * 300, "SWAGENT_BOOTLOADER: bootloader is longer"),
    ],
)
def test_a_variable_that_cannot_be_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environ({name: text})
    assert message in caught.value.message


def test_mtds_are_numbers() -> None:
    found, _ = read('globals : { mtd-blacklist = "0 mtd12"; };')
    assert found.mtd_blacklist == {0, 12}
    assert layer(found, {"mtd-blacklist": ""}, origins="-b").mtd_blacklist == frozenset()


def test_variables_have_types_and_aliases() -> None:
    found = from_environ(
        {"SWAGENT_CA_PATH": "k", "SWAGENT_LOGLEVEL": "2", "SWAGENT_UPDATE_TYPE_REQUIRED": "false"}
    )
    assert (found.public_key_files, found.loglevel, found.update_type_required) == (("k",), 2, False)
    with pytest.raises(SettingsError, match="the same setting"):
        from_environ({"SWAGENT_CA_PATH": "k", "SWAGENT_PUBLIC_KEY_FILE": "k"})


@pytest.mark.parametrize("text", ["", "a", "a,", ",b", "a,b,c", " , "])
def test_a_selection_has_two_parts(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a selection"):
        read_selection(text, where="-e")


def test_a_selection_is_read() -> None:
    assert read_selection("stable,copy1", where="-e") == Selection("stable", "copy1")


def test_the_table_says_who_set_what() -> None:
    found, _ = read(FULL)
    rows = {
        key: (value, origin) for key, value, origin in table(layer(found, {"select": "x,y"}, origins="-e"))
    }
    assert rows["select"] == ("x,y", "-e")
    assert rows["syslog"] == ("true", f"{WHERE}:globals.syslog")
    assert rows["public-key-file"] == ("/etc/key.pem", f"{WHERE}:globals.public-key-file")
    assert rows["aes-key-file"] == ("/etc/aes", f"{WHERE}:globals.decryption-key-file")
    assert rows["sw-description-max-size"] == ("1000", f"{WHERE}:globals.sw-description-max-size")
    assert rows["reboot"] == ("disabled", f"{WHERE}:globals.reboot")
    assert rows["update-types.kernel"] == ("postupdatecmd=reboot reboot=enabled", f"{WHERE}:update-types")
    assert rows["versions"] == ("boot=1 boot=2", f"{WHERE}:versions")
    defaults = table(InstallSettings())
    assert {origin for _, _, origin in defaults} == {"default"}
    assert ("cert-purpose", "emailProtection", "default") in defaults
    assert {key for key, _, _ in defaults} == set(KEYS) - {"verbose"}
