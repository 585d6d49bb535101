"""Settings of a unit: SWUpdate's keys, typed, each with the place that set it.

Layers are merged key by key: defaults, swupdate.cfg, conf.d, ``SWAGENT_*`` variables, command line; the later wins.
This module reads no file: ``app`` does, and hands in what ``parser.read_libconfig`` made of it. Keys that SWUpdate has
and that are not used here are told, never obeyed in part; any other unknown key is an error.

Source of the keys: runtime interfaces §1.3.
"""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .errors import SettingsError
from .model import Selection, UserDataFailure

DEFAULT_TYPE = "default"
DESCRIPTION_SIZE_MAX_BYTES = 4 * 1024 * 1024
_DESCRIPTION_CEILING_BYTES = 64 * 1024 * 1024  # "0 = unlimited" means this: nothing is read without a bound
_TEXT_MAX_BYTES = 255
_LOG_LEVEL_MAX = 5

# Types: s text, b boolean, i whole number, S text that SWUpdate's own example writes as a number,
# l a text or a list of texts, * anything
_TYPE_KEYS = {
    "preupdatecmd": "s",
    "postupdatecmd": "s",
    "no-downgrading": "s",
    "max-version": "s",
    "no-reinstalling": "s",
    "reboot": "s",
}
_CHANNEL_KEYS = {
    "retry": "i",
    "retrywait": "S",
    "max-download-speed": "S",
    "nocheckcert": "b",
    "cafile": "s",
    "sslkey": "s",
    "sslkeypassword": "s",
    "sslcert": "s",
    "ciphers": "s",
    "proxy": "s",
    "interface": "s",
    "api_key_header": "s",
    "api_key": "s",
}
_PROCESS_KEYS = {"userid": "i", "groupid": "i", "user": "s", "group": "s"}
_HAWKBIT_KEYS = {
    **_CHANNEL_KEYS,
    "tenant": "s",
    "id": "s",
    "url": "s",
    "polldelay": "i",
    "initial-report-resend-period": "i",
    "usetokentodwl": "b",
    "connection-timeout": "i",
    "targettoken": "s",
    "gatewaytoken": "s",
}

KNOWN_KEYS: Mapping[str, Mapping[str, str]] = {
    "globals": {
        "verbose": "b",
        "loglevel": "i",
        "syslog": "b",
        "bootloader": "s",
        "public-key-file": "l",
        "ca-path": "l",
        "crl-path": "s",
        "aes-key-file": "s",
        "decryption-key-file": "s",
        "mtd-blacklist": "s",
        "cert-purpose": "s",
        "forced-signer-name": "s",
        "select": "s",
        "gpg-home-dir": "s",
        "gpgme-protocol": "s",
        "hash-provider": "s",
        "decrypt-provider": "s",
        "digest-provider": "s",
        "namespace-vars": "s",
        "fwenv-config-location": "s",
        "gen-swversions": "s",
        "update-type-required": "b",
        "sw-description-max-size": "i",
        **_TYPE_KEYS,
    },
    "update-types": {"name": "s", **_TYPE_KEYS},
    "logcolors": {"error": "s", "warning": "s", "info": "s", "debug": "s", "trace": "s"},
    "processes": {"name": "s", "exec": "s", **_PROCESS_KEYS},
    "webserver": {
        "document_root": "s",
        "listening_ports": "S",
        "enable_directory_listing": "b",
        "ssl_certificate": "s",
        "ssl_certificate_key": "s",
        "global-auth-file": "s",
        "auth-domain": "s",
        "run-postupdate": "b",
        "timeout": "i",
        "api": "i",
        "ssl": "b",
        "ssl-client-ca": "s",
        "token-file": "s",
        "allow-anonymous": "b",
        "host-names": "s",
        "upload-max-size": "S",
        "title": "s",
        **_PROCESS_KEYS,
    },
    "suricatta": {"enable": "b", "server": "s", **_HAWKBIT_KEYS, **_PROCESS_KEYS},
    "hawkbit": {**_HAWKBIT_KEYS, **_PROCESS_KEYS},
    "gservice": {
        "url": "s",
        "logurl": "s",
        "polldelay": "i",
        "logevent": "*",
        **_CHANNEL_KEYS,
        **_PROCESS_KEYS,
    },
    "wfx": {"*": "*"},
    "download": {
        "url": "s",
        "authentication": "s",
        "retries": "i",
        "timeout": "i",
        **_CHANNEL_KEYS,
        **_PROCESS_KEYS,
    },
    "delta": {"targettoken": "s", "gatewaytoken": "s", **_CHANNEL_KEYS, **_PROCESS_KEYS},
    "identify": {"name": "s", "value": "s"},
    "custom-http-headers": {"name": "s", "value": "s"},
    "versions": {"name": "s", "version": "s"},
    "swagent": {
        "battery-min-percent": "i",
        "consent-command": "s",
        "user-data-failure": "s",
        "verify-write": "b",
        "grubenv-path": "s",
        "ebg-config-paths": "s",
        "slots": "*",
        "state-directory": "s",
        "confirm-bootenv": "s",
        "confirm-fail-bootenv": "s",
        "version-floor": "b",
        "docker-socket": "s",
        "forward-cafile": "s",
        "forward-sslcert": "s",
        "forward-sslkey": "s",
        "lua-version": "s",
        "lua-path": "s",
        "lua-device-grants": "s",
        "lua-image-grants": "s",
        "lua-memory": "i",
        "lua-instructions": "i",
        "lua-seconds": "i",
        "download-directory": "s",
        "media-devices": "s",
    },
    "daemon": {
        "control-socket": "l",
        "progress-socket": "l",
        "progress-socket-2022": "l",
        "event-socket": "l",
        "socket-mode": "s",
        "socket-group": "s",
    },
    "authorization": {
        "database": "s",
        "required": "b",
        "project": "s",
        "public-key-file": "l",
        "key-file": "s",
        "msn": "s",
        "model_number": "s",
        "image_version": "s",
        "host_serial": "s",
        "activation_code": "s",
    },
}
"""Every group and key of SWUpdate's settings file and some of ours in them, with their types; and the groups
``swagent``, ``daemon`` and ``authorization``, which are ours alone."""

_MAPPED_GROUPS: Mapping[str, frozenset[str]] = {
    "download": frozenset(("retry",)),
    "delta": frozenset(_PROCESS_KEYS),
    "authorization": frozenset(),
    "suricatta": frozenset(),
    "hawkbit": frozenset(_PROCESS_KEYS),
    "gservice": frozenset(_PROCESS_KEYS),
    "daemon": frozenset(),
    "webserver": frozenset(("api",)),
}
"""Groups that are kept as they are, each a mapping, with the keys in them that are not used."""
_MAPPED_NUMBERS = {
    "retry": (0, 1000),
    "retries": (0, 1000),
    "retrywait": (0, 86_400),
    "timeout": (1, 86_400),
    "webserver.timeout": (0, 86_400),
    "polldelay": (0, 31 * 86_400),
    "initial-report-resend-period": (1, 86_400),
    "connection-timeout": (1, 86_400),
    "userid": (0, 2**31 - 1),
    "groupid": (0, 2**31 - 1),
}
_SECRETS = frozenset(
    ("authentication", "sslkeypassword", "proxy", "targettoken", "gatewaytoken", "activation_code", "api_key")
)
_PAIRS: Mapping[str, tuple[str, str]] = {
    "identify": ("name", "value"),
    "custom-http-headers": ("name", "value"),
    "gservice.logevent": ("event", "format"),
}
"""Lists of two texts each, with the keys of the two."""
_PAIRS_MAX = 256
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:?\Z")
_BOUNDS = {
    "battery-min-percent": (0, 100),
    "lua-memory": (4, 4096),
    "lua-instructions": (1, 1_000_000),
    "lua-seconds": (1, 86_400),
}
LUA_VERSIONS = ("5.1", "5.2", "5.3", "5.4")
LUA_GRANTS = ("execute", "popen", "exit", "bytecode", "debug", "endless")
"""What Lua code can be granted: ``os.execute``, ``io.popen``, ``os.exit``, compiled code, the library ``debug``, and to
run without limits of instructions and time."""
_SPEED = re.compile(r"([0-9]{1,12})([kKMG]?)\Z")
_SPEED_UNITS = {"": 1, "k": 1024, "K": 1024, "M": 1024**2, "G": 1024**3}

_LISTS = frozenset(("update-types", "processes", "identify", "custom-http-headers", "versions"))
_ALIASES = {"ca-path": "public-key-file", "decryption-key-file": "aes-key-file"}
_UNUSED_GLOBALS = frozenset(("gpg-home-dir", "gpgme-protocol", "hash-provider", "decrypt-provider"))
_USED_LISTS = frozenset(("update-types", "versions", "identify", "custom-http-headers", "processes"))
_KIND = {
    "s": "a text in double quotes",
    "S": "a text in double quotes",
    "l": "a text in double quotes, or a list of such",
    "b": "true or false",
    "i": "a whole number",
}


AUTO = Selection("auto", "")
"""What ``select = "auto"`` stands for until it is known which copy runs: that of ``slots`` which does not."""

_SLOT_KEYS = {"selection": "s", "device": "s"}
_SLOTS_MAX = 64


class UpdateType(NamedTuple):
    """Rules for one type of update; "" is no rule.

    Attributes:
        preupdatecmd: shell command before anything is written.
        postupdatecmd: shell command after success.
        no_downgrading: lowest version that may be installed.
        max_version: highest version that may be installed.
        no_reinstalling: version that is not installed again.
        reboot: whether the unit should reboot afterwards; None when the type does not say.
    """

    name: str
    preupdatecmd: str = ""
    postupdatecmd: str = ""
    no_downgrading: str = ""
    max_version: str = ""
    no_reinstalling: str = ""
    reboot: bool | None = None


class InstallSettings(NamedTuple):
    """What an install needs to know; immutable, a layer makes a new one.

    Attributes:
        public_key_files: keys or trusted certificates, any of which may vouch for an image.
        digest_provider: how images are signed, by SWUpdate's name of the provider; "" for what the key suggests.
        cert_purpose: ``emailProtection`` or ``codeSigning``.
        forced_signer_name: common name that every signer must have, "" for any.
        namespace_vars: in which environment of a YAML fw_env.config ``vars`` are stored, when the image does not say.
        loglevel: 0 to 5, None when nothing says.
        description_size_max_bytes: sw-description and its signature must be smaller.
        update_types: by name; ``default`` is always among them.
        versions: installed components, None when the file /etc/sw-versions holds them.
        download: how to fetch from servers: SWUpdate's keys of the group ``download``, numbers as numbers.
        delta: the same for the parts that delta updates fetch, SWUpdate's group ``delta``.
        authorization: which UniAuth.db counts, and where the data of this unit are.
        suricatta: which server tells of updates, SWUpdate's group ``suricatta``.
        hawkbit: how to ask a hawkBit; what is missing here may stand in ``suricatta``.
        gservice: how to ask a general server.
        identify: what servers are told of this unit, name to value in order.
        custom_http_headers: sent to those servers with every request.
        logevent: of a general server: event to the format of what it is told, in order.
        daemon: where it listens, and who may connect.
        webserver: how the web server serves, SWUpdate's group ``webserver``.
        processes: programs that the daemon starts and watches, as they are listed.
        origins: key to the place that set it, as ``swupdate.cfg:globals.select``; defaults have no entry.
        battery_min_percent: an update does not begin on a discharging battery with less; 0 for any.
        consent_command: program and arguments, as a shell would split them, that is asked before anything is written.
        user_data_failure: what follows when an entry with the property ``user-data`` cannot be written.
        verify_write: read back what images and files were written.
        slots: which selection writes which device, for ``select = "auto"``.
        state_directory: where the journal is, "" for the usual place, ``none`` to keep none.
        confirm_bootenv: ``name=value`` to store when an update is confirmed; an empty value removes.
        confirm_fail_bootenv: the same when one of its checks fails.
        version_floor: whether to refuse what is lower than the highest version ever confirmed.
        grubenv_path: GRUB's environment block, "" for SWUpdate's place of it.
        ebg_config_paths: EFI Boot Guard's environments or the folders that they lie in, separated by blanks; "" for
            those in the roots of mounted FAT file systems.
        docker_socket: of the container engine, "" for /run/docker.sock.
        forward_cafile: authorities of devices that updates are forwarded to, "" for the system's.
        forward_sslcert: certificate to show to them, "" for none.
        forward_sslkey: its key, "" when it is in the same file.
        lua_version: of Lua, one of ``LUA_VERSIONS``.
        lua_path: where ``swupdate_handlers.lua`` and modules are looked for, as Lua's ``package.path``; "" for the
            usual places.
        lua_device_grants: words of ``LUA_GRANTS``: what the unit's own Lua code may do.
        lua_image_grants: the same for what an image brings.
        lua_memory: MiB that a Lua state may take.
        lua_instructions: millions that a call into Lua may run.
        lua_seconds: how long it may take.
        mtd_blacklist: numbers of MTDs on which no UBI is looked for, and none used.
        download_directory: where what a server wants to be downloaded, and not installed, is kept; "" for nowhere.
        media_devices: from which media updates are installed: names of devices with wildcards, ``auto`` for USB and SD
            cards, "" for none.
    """

    public_key_files: tuple[str, ...] = ()
    digest_provider: str = ""
    cert_purpose: str = "emailProtection"
    forced_signer_name: str = ""
    crl_path: str = ""
    aes_key_file: str = ""
    bootloader: str = ""
    select: Selection | None = None
    fwenv_config_location: str = ""
    namespace_vars: str = ""
    gen_swversions: str = ""
    update_type_required: bool = False
    description_size_max_bytes: int = DESCRIPTION_SIZE_MAX_BYTES
    loglevel: int | None = None
    syslog: bool = False
    update_types: Mapping[str, UpdateType] = MappingProxyType({DEFAULT_TYPE: UpdateType(DEFAULT_TYPE)})
    versions: tuple[tuple[str, str], ...] | None = None
    origins: Mapping[str, str] = MappingProxyType({})
    download: Mapping[str, Any] = MappingProxyType({})
    delta: Mapping[str, Any] = MappingProxyType({})
    authorization: Mapping[str, Any] = MappingProxyType({})
    suricatta: Mapping[str, Any] = MappingProxyType({})
    hawkbit: Mapping[str, Any] = MappingProxyType({})
    gservice: Mapping[str, Any] = MappingProxyType({})
    identify: tuple[tuple[str, str], ...] = ()
    custom_http_headers: tuple[tuple[str, str], ...] = ()
    logevent: tuple[tuple[str, str], ...] = ()
    daemon: Mapping[str, Any] = MappingProxyType({})
    webserver: Mapping[str, Any] = MappingProxyType({})
    processes: tuple[Mapping[str, Any], ...] = ()
    battery_min_percent: int = 0
    consent_command: str = ""
    user_data_failure: UserDataFailure = UserDataFailure.FAIL
    verify_write: bool = False
    slots: tuple[tuple[Selection, str], ...] = ()
    state_directory: str = ""
    confirm_bootenv: tuple[str, ...] = ()
    confirm_fail_bootenv: tuple[str, ...] = ()
    version_floor: bool = False
    grubenv_path: str = ""
    ebg_config_paths: str = ""
    docker_socket: str = ""
    forward_cafile: str = ""
    forward_sslcert: str = ""
    forward_sslkey: str = ""
    lua_version: str = "5.4"
    lua_path: str = ""
    lua_device_grants: tuple[str, ...] = ()
    lua_image_grants: tuple[str, ...] = ()
    lua_memory: int = 64
    lua_instructions: int = 500
    lua_seconds: int = 60
    mtd_blacklist: frozenset[int] = frozenset()
    download_directory: str = ""
    media_devices: str = ""


KEYS: Mapping[str, str] = (
    {
        key: kind
        for key, kind in KNOWN_KEYS["globals"].items()
        if key not in _UNUSED_GLOBALS and key not in _ALIASES
    }
    | {key: kind for key, kind in KNOWN_KEYS["swagent"].items() if kind != "*"}
    | {
        f"{group}.{key}": kind
        for group, unused in _MAPPED_GROUPS.items()
        for key, kind in KNOWN_KEYS[group].items()
        if key not in unused and kind != "*"
    }
)
"""Keys that a layer may set, by SWUpdate's name or ours, with their type; those of
groups that are kept as they are begin with its name."""


def layer(
    base: InstallSettings, values: Mapping[str, object], *, origins: Mapping[str, str] | str
) -> InstallSettings:
    """Settings with some keys replaced.

    Args:
        base: the settings so far.
        values: by SWUpdate's names, those of ``KEYS`` and their aliases; ``public-key-file`` may be a list of texts.
        origins: the place of all of them, or of each.

    Raises:
        SettingsError: an unknown key, a wrong type, or a value that cannot be; the message names the place.
    """
    changes: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    told = dict(base.origins)
    for given, value in values.items():
        key = _ALIASES.get(given, given)
        where = origins if isinstance(origins, str) else origins[given]
        kind = KEYS.get(key)
        if kind is None:
            raise SettingsError(f"{where}: unknown setting {given!r}", hint=_nearest(given, KEYS))
        if key == "public-key-file" and isinstance(value, list | tuple):
            changes["public_key_files"] = tuple(_typed(where, key, kind, value))
        elif "." in key:
            group, _, name = key.partition(".")
            changes[group] = {
                **changes.get(group, getattr(base, group)),
                name: _mapped_value(where, group, name, kind, value),
            }
        elif key in _TYPE_KEYS:
            rules[key.replace("-", "_")] = _rule(where, key, _typed(where, key, kind, value))
        else:
            name, converted = _convert(where, key, _typed(where, key, kind, value))
            if key == "verbose":
                if "loglevel" in values or not value:
                    continue  # the number says more than the switch
                key = "loglevel"
            changes[name] = converted
        told[key] = where
    if rules:
        default = base.update_types[DEFAULT_TYPE]._replace(**rules)
        changes["update_types"] = {**base.update_types, DEFAULT_TYPE: default}
    return base._replace(**changes, origins=told)


def from_config(
    tree: Mapping[str, object],
    *,
    where: str,
    base: InstallSettings | None = None,
    globals_required: bool = True,
) -> tuple[InstallSettings, list[str]]:
    """Lay a settings file over ``base``.

    Args:
        tree: the file, as ``parser.read_libconfig`` reads it.
        where: its path, for messages and origins.
        base: the settings so far; the defaults if not given.
        globals_required: whether a file without the group ``globals`` is an error, as it is for swupdate.cfg.

    Returns:
        the settings, and a sentence for each key that SWUpdate has and that is not used here.

    Raises:
        SettingsError: a group or key that SWUpdate does not have, a wrong type, or a value that cannot be.
    """
    settings = base or InstallSettings()
    if globals_required and "globals" not in tree:
        raise SettingsError(f"{where}: the group globals is missing", hint="add globals : { };")
    ignored: list[str] = []
    for group, content in tree.items():
        known = KNOWN_KEYS.get(group)
        if known is None:
            raise SettingsError(f"{where}: unknown group {group[:80]!r}", hint=_nearest(group, KNOWN_KEYS))
        entries = _entries(where, group, content)
        for place, entry in entries:
            _check_keys(place, entry, known)
        if group == "globals":
            given = {key: value for key, value in entries[0][1].items() if key not in _UNUSED_GLOBALS}
            ignored += [
                f"{where}: globals.{key} is not used" for key in entries[0][1] if key in _UNUSED_GLOBALS
            ]
            _refuse_two_names(where, given)
            settings = layer(settings, given, origins={key: f"{where}:globals.{key}" for key in given})
        elif group == "swagent":
            given = {key: value for key, value in entries[0][1].items() if key in KEYS}
            settings = layer(settings, given, origins={key: f"{where}:swagent.{key}" for key in given})
            if "slots" in entries[0][1]:
                settings = _with_slots(settings, f"{where}:swagent.slots", entries[0][1]["slots"])
        elif group in _MAPPED_GROUPS:
            unused = _MAPPED_GROUPS[group]
            given = {
                f"{group}.{key}": value
                for key, value in entries[0][1].items()
                if key not in unused and f"{group}.{key}" not in _PAIRS
            }
            ignored += [f"{where}: {group}.{key} is not used" for key in entries[0][1] if key in unused]
            settings = layer(settings, given, origins={key: f"{where}:{key}" for key in given})
        elif group not in _USED_LISTS:
            ignored.append(f"{where}: {group} is not used")
    if "update-types" in tree:
        settings = _with_update_types(settings, where, _entries(where, "update-types", tree["update-types"]))
    for name in _PAIRS:
        group, _, key = name.partition(".")
        content = tree.get(group)
        if key and isinstance(content, Mapping):
            content = content.get(key)
        elif key:
            continue
        if content is not None:
            settings = with_pairs(settings, name, _pairs(where, name, content), origin=f"{where}:{name}")
    if "processes" in tree:
        listed = _entries(where, "processes", tree["processes"])
        for place, entry in listed:
            _named(place, entry, "name"), _named(place, entry, "exec")
        settings = settings._replace(
            processes=tuple(entry for _, entry in listed),
            origins={**settings.origins, "processes": f"{where}:processes"},
        )
    if "versions" in tree:
        pairs = tuple(
            (_named(place, entry, "name"), _named(place, entry, "version"))
            for place, entry in _entries(where, "versions", tree["versions"])
        )
        settings = settings._replace(
            versions=pairs, origins={**settings.origins, "versions": f"{where}:versions"}
        )
    return settings, ignored


def with_pairs(
    base: InstallSettings, name: str, pairs: tuple[tuple[str, str], ...], *, origin: str
) -> InstallSettings:
    """Settings with a list of pairs laid over what there was; the later of two with the same name wins.

    Args:
        base: the settings so far.
        name: ``identify``, ``custom-http-headers`` or ``gservice.logevent``.
        pairs: such as name and value.
        origin: the place that sets them.

    Raises:
        SettingsError: a header cannot be one.
    """
    if name == "custom-http-headers":
        pairs = tuple((key.removesuffix(":"), value) for key, value in pairs)
        for key, value in pairs:
            if not _HEADER.match(key) or not value.isascii() or not value.isprintable():
                raise SettingsError(f"{origin}: {key[:40]!r} and its value make no header of HTTP")
    field = name.rpartition(".")[2].replace("-", "_")
    changes: dict[str, Any] = {field: tuple({**dict(getattr(base, field)), **dict(pairs)}.items())}
    return base._replace(**changes, origins={**base.origins, name: origin})


def from_environ(
    environ: Mapping[str, str], *, base: InstallSettings | None = None, others: Collection[str] = ()
) -> InstallSettings:
    """Lay variables such as ``SWAGENT_SELECT`` or ``SWAGENT_PUBLIC_KEY_FILE`` over ``base``.

    Args:
        environ: all variables; only those that begin with ``SWAGENT_`` matter.
        base: the settings so far; the defaults if not given.
        others: names that mean something to other parts.

    Raises:
        SettingsError: an unknown name, or a value that cannot be.
    """
    names = {_variable(key): key for key in (*KEYS, *_ALIASES)}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for name, text in environ.items():
        if not name.startswith("SWAGENT_") or name in others:
            continue
        key = names.get(name)
        if key is None:
            raise SettingsError(f"unknown environment variable {name[:80]}", hint=_nearest(name, names))
        kind = KEYS[_ALIASES.get(key, key)]
        values[key] = _from_text(name, kind, text)
        origins[key] = name
    _refuse_two_names("environment", values)
    return layer(base or InstallSettings(), values, origins=origins)


def table(settings: InstallSettings) -> list[tuple[str, str, str]]:
    """Every key, its value as text and the place that set it (``default`` when none did), for people."""
    default = settings.update_types[DEFAULT_TYPE]
    rows = []
    for key in KEYS:
        if key == "verbose":
            continue  # another way to say loglevel
        value: object
        if key in _TYPE_KEYS:
            value = getattr(default, key.replace("-", "_"))
        elif "." in key:
            group, _, name = key.partition(".")
            value = getattr(settings, group).get(name)
            if value and name in _SECRETS:
                value = "(set)"
        else:
            value = getattr(settings, _FIELDS.get(key, key.replace("-", "_")))
        rows.append((key, _shown_rule(key, value), settings.origins.get(key, "default")))
    for name in settings.update_types:
        key = f"update-types.{name}"
        if key in settings.origins:
            rows.append((key, _shown_rules(settings.update_types[name]), settings.origins[key]))
    if settings.slots:
        shown = " ".join(f"{selection}={device}" for selection, device in settings.slots)
        rows.append(("slots", shown, settings.origins.get("slots", "default")))
    for name in _PAIRS:
        pairs = getattr(settings, name.rpartition(".")[2].replace("-", "_"))
        hidden = name == "custom-http-headers"
        if pairs:
            shown = " ".join(f"{key}={'(set)' if hidden else value}" for key, value in pairs)
            rows.append((name, shown, settings.origins.get(name, "default")))
    if settings.versions is not None:
        shown = " ".join(f"{name}={version}" for name, version in settings.versions)
        rows.append(("versions", shown, settings.origins.get("versions", "default")))
    return rows


def read_selection(text: str, *, where: str) -> Selection:
    """``set,mode`` as a selection.

    Raises:
        SettingsError: one of the two is missing, or there is a third.
    """
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip() for part in parts):
        raise SettingsError(
            f"{where}: {text[:80]!r} is not a selection", hint="write set,mode such as stable,copy2"
        )
    return Selection(parts[0].strip(), parts[1].strip())


_FIELDS = {"public-key-file": "public_key_files", "sw-description-max-size": "description_size_max_bytes"}


def _convert(where: str, key: str, value: Any) -> tuple[str, Any]:
    """Field of ``InstallSettings`` and its value."""
    name = _FIELDS.get(key, key.replace("-", "_"))
    if key == "public-key-file":
        return name, (value,) if value else ()
    if key == "select":
        if value == AUTO.software_set:
            return name, AUTO
        return name, read_selection(value, where=where) if value else None
    if key == "user-data-failure":
        return name, _user_data_failure(where, value)
    if key in ("confirm-bootenv", "confirm-fail-bootenv"):
        return name, _assignments(where, key, value)
    if key in _BOUNDS and not _BOUNDS[key][0] <= value <= _BOUNDS[key][1]:
        raise SettingsError(f"{where}: {key} goes from {_BOUNDS[key][0]} to {_BOUNDS[key][1]}, not {value}")
    if key == "lua-version" and value not in LUA_VERSIONS:
        raise SettingsError(f"{where}: lua-version is {value!r}", hint=f"known are {', '.join(LUA_VERSIONS)}")
    if key in ("lua-device-grants", "lua-image-grants"):
        return name, _grants(where, key, value)
    if key == "mtd-blacklist":
        return name, _mtds(where, key, value)
    if key == "verbose":
        return "loglevel", _LOG_LEVEL_MAX if value else None
    if key == "loglevel" and not 0 <= value <= _LOG_LEVEL_MAX:
        raise SettingsError(f"{where}: loglevel goes from 0 to {_LOG_LEVEL_MAX}, not {value}")
    if key == "sw-description-max-size":
        if value < 0:
            raise SettingsError(f"{where}: {key} is negative: {value}")
        return name, min(value or _DESCRIPTION_CEILING_BYTES, _DESCRIPTION_CEILING_BYTES)
    if key == "cert-purpose" and value not in ("emailProtection", "codeSigning"):
        raise SettingsError(
            f"{where}: cert-purpose is {value!r}", hint="write emailProtection or codeSigning"
        )
    return name, value


def _user_data_failure(where: str, word: str) -> UserDataFailure:
    try:
        return UserDataFailure(word)
    except ValueError:
        known = ", ".join(known.value for known in UserDataFailure)
        raise SettingsError(
            f"{where}: user-data-failure is {word[:40]!r}", hint=f"known are {known}"
        ) from None


def _grants(where: str, key: str, text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.split()))
    for word in words:
        if word not in LUA_GRANTS:
            hint = _nearest(word, LUA_GRANTS) or f"known are {', '.join(LUA_GRANTS)}"
            raise SettingsError(f"{where}: {key}: {word[:40]!r} is nothing that can be granted", hint=hint)
    return words


def _assignments(where: str, key: str, text: str) -> tuple[str, ...]:
    """``name=value`` words."""
    words = tuple(text.split())
    for word in words:
        if word.find("=") < 1:
            raise SettingsError(
                f"{where}: {key}: {word[:40]!r} sets no variable",
                hint=f'write {key} = "name=value name=value";',
            )
    return words


def _mtds(where: str, key: str, text: str) -> frozenset[int]:
    """Numbers of MTDs, as SWUpdate wants them; ``mtd4`` is understood too."""
    words = [word.removeprefix("mtd") for word in text.split()]
    for word in words:
        if not re.fullmatch(r"[0-9]{1,4}", word, re.ASCII):
            raise SettingsError(
                f"{where}: {key}: {word[:40]!r} is no number of an MTD", hint='write numbers, such as "0 1 5"'
            )
    return frozenset(int(word) for word in words)


def read_speed(text: str, where: str) -> int:
    """Bytes per second of ``500k``, ``2M`` and the like.

    Raises:
        SettingsError: it is none.
    """
    speed = _SPEED.match(text)
    if speed is None:
        raise SettingsError(f"{where} must be bytes per second", hint="write 500k, 2M or 1G, 0 for no limit")
    return int(speed[1]) * _SPEED_UNITS[speed[2]]


def _mapped_value(where: str, group: str, key: str, kind: str, value: object) -> object:
    """A value of such a group; numbers may also come as words of the command line."""
    if key == "max-download-speed":
        return read_speed(str(_typed(where, key, kind, value)), f"{where}: {key}")
    bounds = _MAPPED_NUMBERS.get(f"{group}.{key}") or _MAPPED_NUMBERS.get(key)
    if bounds is None:
        typed = _typed(where, key, kind, value)
        return (typed,) if kind == "l" and isinstance(typed, str) else tuple(typed) if kind == "l" else typed
    if isinstance(value, str):
        value = _from_text(where, "i", value)
    number = int(_typed(where, key, "i", value))
    if not bounds[0] <= number <= bounds[1]:
        raise SettingsError(f"{where}: {key} goes from {bounds[0]} to {bounds[1]}, not {number}")
    return number


def _rule(where: str, key: str, value: Any) -> Any:
    if key != "reboot":
        return value
    if value not in ("enabled", "disabled"):
        raise SettingsError(f"{where}: reboot is {value!r}", hint='write "enabled" or "disabled"')
    return value == "enabled"


def _typed(where: str, key: str, kind: str, value: object) -> Any:
    """The value, when it has the type that the key wants."""
    if kind == "l" and isinstance(value, list | tuple):
        if not value or not all(value):  # an empty list must not look like the wish for no key at all
            raise SettingsError(f"{where}: {key} is a list without a text, or with an empty one")
        return [_typed(where, key, "s", item) for item in value]
    if kind == "S" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    fits = {
        "b": isinstance(value, bool),
        "i": isinstance(value, int) and not isinstance(value, bool),
        "*": True,
    }.get(kind, isinstance(value, str))
    if not fits:
        raise SettingsError(f"{where}: {key} must be {_KIND[kind]}", hint=_how_to_write(key, kind, value))
    if isinstance(value, str) and len(value.encode("utf-8", "surrogateescape")) > _TEXT_MAX_BYTES:
        raise SettingsError(f"{where}: {key} is longer than {_TEXT_MAX_BYTES} bytes")
    return value


def _how_to_write(key: str, kind: str, value: object) -> str:
    if kind in "sS" and isinstance(value, int | float):
        return f'write {key} = "{value}";'
    if kind in "bi" and isinstance(value, str):
        return f"write {key} = {value[:40] or 'a value'}; without quotes"
    return ""


def _entries(where: str, group: str, content: object) -> list[tuple[str, Mapping[str, object]]]:
    """The groups that a setting consists of, with their places."""
    if group not in _LISTS:
        if not isinstance(content, Mapping):
            raise SettingsError(f"{where}: {group} must be a group", hint=f"write {group} : {{ ... }};")
        return [(f"{where}:{group}", content)]
    if not isinstance(content, list | tuple):
        raise SettingsError(
            f"{where}: {group} must be a list of groups", hint=f"write {group} : ( {{ ... }} );"
        )
    result = []
    for index, entry in enumerate(content):
        if not isinstance(entry, Mapping):
            raise SettingsError(f"{where}: {group}[{index}] must be a group", hint="write { name = value; }")
        result.append((f"{where}:{group}[{index}]", entry))
    return result


def _check_keys(place: str, entry: Mapping[str, object], known: Mapping[str, str]) -> None:
    if "*" in known:
        return
    for key, value in entry.items():
        if key not in known:
            raise SettingsError(f"{place}: unknown key {key[:80]!r}", hint=_nearest(key, known))
        _typed(place, key, known[key], value)


def _named(place: str, entry: Mapping[str, object], key: str) -> str:
    value = _typed(place, key, "s", entry.get(key, ""))
    if not value:
        raise SettingsError(f"{place}: {key} is missing")
    return str(value)


def _with_update_types(
    base: InstallSettings, where: str, entries: list[tuple[str, Mapping[str, object]]]
) -> InstallSettings:
    """The types of one file added; the first of a name counts, and a later file's replaces an earlier file's."""
    types: dict[str, UpdateType] = {}
    told = dict(base.origins)
    for place, entry in entries:
        name = _named(place, entry, "name")
        if name in types:
            continue
        rules = {
            key.replace("-", "_"): _rule(place, key, value) for key, value in entry.items() if key != "name"
        }
        # the default type has rules in globals too: these are laid over them
        known = base.update_types[name] if name == DEFAULT_TYPE else UpdateType(name)
        types[name] = known._replace(**rules)
        told[f"update-types.{name}"] = f"{where}:update-types"
    return base._replace(update_types={**base.update_types, **types}, origins=told)


def _with_slots(base: InstallSettings, where: str, content: object) -> InstallSettings:
    """The mapping of selections to devices; a later file's replaces an earlier file's whole."""
    if not isinstance(content, list | tuple) or not 0 < len(content) <= _SLOTS_MAX:
        raise SettingsError(
            f"{where} must be a list of 1 to {_SLOTS_MAX} groups",
            hint='write slots : ( { selection = "stable,copy1"; device = "/dev/mmcblk0p2"; }, ... );',
        )
    slots = []
    for index, entry in enumerate(content):
        place = f"{where}[{index}]"
        if not isinstance(entry, Mapping):
            raise SettingsError(f"{place} must be a group", hint="write { selection = ...; device = ...; }")
        _check_keys(place, entry, _SLOT_KEYS)
        selection = read_selection(_named(place, entry, "selection"), where=f"{place}.selection")
        slots.append((selection, _named(place, entry, "device")))
    return base._replace(slots=tuple(slots), origins={**base.origins, "slots": where})


def _pairs(where: str, name: str, content: object) -> tuple[tuple[str, str], ...]:
    first, second = _PAIRS[name]
    if not isinstance(content, list | tuple) or len(content) > _PAIRS_MAX:
        raise SettingsError(
            f"{where}: {name} must be a list of at most {_PAIRS_MAX} groups",
            hint=f'write {name.rpartition(".")[2]} : ( {{ {first} = "..."; {second} = "..."; }} );',
        )
    pairs = []
    for index, entry in enumerate(content):
        place = f"{where}:{name}[{index}]"
        if not isinstance(entry, Mapping):
            raise SettingsError(
                f"{place} must be a group", hint=f"write {{ {first} = ...; {second} = ...; }}"
            )
        _check_keys(place, entry, {first: "s", second: "s"})
        pairs.append((_named(place, entry, first), str(entry.get(second, ""))))
    return tuple(pairs)


def _refuse_two_names(where: str, given: Collection[str]) -> None:
    for alias, key in _ALIASES.items():
        if alias in given and key in given:
            raise SettingsError(
                f"{where}: {alias} and {key} are the same setting", hint="remove one of the two"
            )


def _variable(key: str) -> str:
    return "SWAGENT_" + key.upper().replace("-", "_").replace(".", "_")


def _from_text(where: str, kind: str, text: str) -> object:
    """The typed value of a variable."""
    if kind == "b":
        switches = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in switches:
            raise SettingsError(f"{where}: {text[:40]!r} is neither true nor false")
        return switches[text.lower()]
    if kind == "i":
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise SettingsError(f"{where}: {text[:40]!r} is not a whole number")
        return int(text)
    return text


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value == AUTO:
        return AUTO.software_set
    if isinstance(value, tuple) and not isinstance(value, Selection):
        return " ".join(str(item) for item in value)
    return "" if value is None else str(value)


def _shown_rule(key: str, value: object) -> str:
    if key == "reboot" and isinstance(value, bool):
        return "enabled" if value else "disabled"
    return _shown(value)


def _shown_rules(rules: UpdateType) -> str:
    words = [(key, _shown_rule(key, getattr(rules, key.replace("-", "_")))) for key in _TYPE_KEYS]
    return " ".join(f"{key}={word}" for key, word in words if word)


def _nearest(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name[:80], list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""
