import json
from typing import Any

import pytest

from swagent.errors import DescriptionError, SelectionRefused
from swagent.model import Artifact, Compression, Description, Hardware, Kind, Selection
from swagent.parser import parse, parse_with_warnings
from swagent.parser.libconfig import read

BOARD = Hardware("bd", "1.0")
STABLE = Selection("stable", "copy1")
IMAGE = 'images: ( { filename = "a"; device = "/dev/x"; } );'


def described(
    inside: str, hardware: Hardware | None = None, selection: Selection | None = None, **more: Any
) -> Description:
    text = f'software = {{ version = "1"; {inside} }}'.encode()
    return parse(text, hardware=hardware, selection=selection, **more)


def problem(
    inside: str, hardware: Hardware | None = None, selection: Selection | None = None
) -> DescriptionError:
    with pytest.raises(DescriptionError) as caught:
        described(inside, hardware, selection)
    return caught.value


def image(attributes: str) -> Artifact:
    return described(f'images: ( {{ filename = "a"; device = "/dev/x"; {attributes} }} );').images[0]


def image_problem(attributes: str) -> str:
    return problem(f'images: ( {{ filename = "a"; device = "/dev/x"; {attributes} }} );').message


def names(artifacts: tuple[Artifact, ...]) -> str:
    return " ".join(art.filename for art in artifacts)


# -- the release


def test_a_whole_description() -> None:
    release = described(
        """
        description = "free text"; hardware-compatibility: [ "1.0", "#RE:^2" ]; update-type = "kernel";
        reboot = "disabled"; bootloader_transaction_marker = false; bootloader_state_marker = false;
        output = "/data/x.swu"; namespace-for-vars = "ns";
        images: ( { filename = "a"; volume = "v"; }, { filename = "b"; device = "/dev/x"; } );
        files: ( { filename = "c"; path = "/c"; } );
        scripts: ( { filename = "d"; type = "shellscript"; }, { data = "x"; } );
        partitions: ( { device = "mtd1"; name = "rootfs"; size = 10; data = "static"; } );
        bootenv: ( { name = "a"; value = "1"; }, { name = "b"; value = ""; } );
        vars: ( { name = "c"; value = "3"; } );
        """
    )
    assert release.version == "1"
    assert release.description == "free text"
    assert release.hardware_compatibility == ("1.0", "#RE:^2")
    assert (release.update_type, release.update_type_given) == ("kernel", True)
    assert (release.reboot, release.transaction_marker, release.state_marker) == (False, False, False)
    assert (release.output, release.namespace_for_vars) == ("/data/x.swu", "ns")
    assert [(art.type, art.kind) for art in release.installables] == [
        ("ubipartition", Kind.PARTITION),
        ("ubivol", Kind.IMAGE),
        ("raw", Kind.IMAGE),
        ("rawfile", Kind.FILE),
    ]
    assert [(art.type, art.kind) for art in release.scripts] == [
        ("shellscript", Kind.SCRIPT),
        ("lua", Kind.SCRIPT),
    ]
    partition = release.partitions[0]
    assert (partition.name, partition.volume, partition.size_bytes) == ("rootfs", "rootfs", 10)
    assert (partition.device, partition.data) == ("mtd1", "static")
    assert list(release.bootenv.items()) == [("a", "1"), ("b", "")]
    assert release.variables == {"c": "3"}


def test_what_a_description_leaves_out() -> None:
    release = described(IMAGE)
    assert release.hardware_compatibility is None
    assert (release.update_type, release.update_type_given) == ("default", False)
    assert release.reboot is None
    assert release.transaction_marker
    assert release.state_marker
    assert release.bootenv == release.variables == {}


@pytest.mark.parametrize(("value", "reboot"), [("true", True), ("false", False), ('"enabled"', True)])
def test_reboot_is_a_boolean_or_a_word(value: str, reboot: bool) -> None:
    assert described(f"reboot = {value}; {IMAGE}").reboot is reboot


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("version = 1;", "version must be a text"),
        ('description = "' + "d" * 512 + '";', "description is 512 bytes"),
        ('update-type = "' + "é" * 128 + '";', "update-type is 256 bytes"),
        ('hardware-compatibility = "1.0";', "hardware-compatibility must be a list"),
        ("hardware-compatibility = [ 1 ];", "hardware-compatibility must be a text"),
        ('reboot = "yes";', "reboot must be"),
        ("reboot = 1;", "reboot must be"),
        ('bootloader_state_marker = "false";', "bootloader_state_marker must be true or false"),
        ("output = true;", "output must be a text"),
        ("embedded-script = 1;", "embedded-script must be a text"),
    ],
)
def test_a_wrong_attribute_of_the_release_is_refused(inside: str, message: str) -> None:
    version = "" if "version" in inside else 'version = "1";'
    text = f"software = {{ {inside} {IMAGE} {version} }}"
    with pytest.raises(DescriptionError) as caught:
        parse(text.encode(), hardware=None, selection=None)
    assert message in caught.value.message


def test_a_release_needs_a_version() -> None:
    with pytest.raises(DescriptionError, match="has no version"):
        parse(f"software = {{ {IMAGE} }}".encode(), hardware=None, selection=None)


def test_the_outermost_group_can_have_another_name() -> None:
    text = f'firmware = {{ version = "1"; {IMAGE} }}'.encode()
    assert names(parse(text, hardware=None, selection=None, root="firmware").images) == "a"
    with pytest.raises(DescriptionError, match="no group 'software' in it, only firmware"):
        parse(text, hardware=None, selection=None)


def test_the_size_is_bounded_as_upstream_does() -> None:
    text = f'software = {{ version = "1"; {IMAGE} }}'.encode()
    assert parse(text, hardware=None, selection=None, size_max_bytes=len(text) + 1)
    with pytest.raises(DescriptionError, match="the limit is"):
        parse(text, hardware=None, selection=None, size_max_bytes=len(text))


# -- where things are looked up

LEVELS = """
    images: ( { filename = "all"; device = "d"; } ); files: ( { filename = "f-all"; } );
    stable = { copy1 = { images: ( { filename = "set"; device = "d"; } ); reboot = true; };
               copy2 = { scripts: ( { filename = "s"; } ); } };
    bd = { images: ( { filename = "board"; device = "d"; } ); version = "2";
           stable = { copy1 = { images: ( { filename = "both"; device = "d"; } ); files: (); } } };
"""


@pytest.mark.parametrize(
    ("hardware", "selection", "images", "files", "version"),
    [
        (None, None, "all", "f-all", "1"),
        (BOARD, None, "board", "f-all", "2"),
        (None, STABLE, "set", "f-all", "1"),
        (BOARD, STABLE, "both", "", "2"),
        (Hardware("other", "1"), STABLE, "set", "f-all", "1"),
        (BOARD, Selection("stable", "copy2"), "board", "f-all", "2"),
        (BOARD, Selection("", "copy1"), "board", "f-all", "2"),
    ],
)
def test_the_most_special_place_wins_whole(
    hardware: Hardware | None, selection: Selection | None, images: str, files: str, version: str
) -> None:
    release = described(LEVELS, hardware, selection)
    assert (names(release.images), names(release.files), release.version) == (images, files, version)


def test_a_board_name_may_have_dots_in_json() -> None:
    text = json.dumps({"software": {"version": "1", "rev-1.0": {"files": [{"filename": "f"}]}}}).encode()
    assert names(parse(text, hardware=Hardware("rev-1.0", "x"), selection=None).files) == "f"


def test_a_selection_that_is_not_there_is_told_when_something_remains() -> None:
    text = f'software = {{ version = "1"; {LEVELS} }}'.encode()
    _, warnings = parse_with_warnings(text, hardware=None, selection=Selection("x", "y"))
    assert "the selection x,y is not in this image" in warnings[0]
    assert parse_with_warnings(text, hardware=None, selection=STABLE)[1] == []


def test_a_selection_with_nothing_in_it_is_refused_with_those_there_are() -> None:
    inside = "stable = { copy1 = { " + IMAGE + " }; copy2 = { " + IMAGE + " } };"
    with pytest.raises(SelectionRefused) as caught:
        described(inside, BOARD, Selection("stable", "copy3"))
    assert caught.value.hint == "selections in this image: stable,copy1 stable,copy2"
    assert "nothing to install on board bd" in problem(inside, BOARD).message
    assert "stable,copy1 stable,copy2" in problem(inside, BOARD).hint


def test_nothing_to_install_is_an_error() -> None:
    assert "nothing to install" in problem('vars: ( { name = "a"; value = "b"; } ); images: ();').message
    assert problem("other = { " + IMAGE + " };").hint == "boards in this image: other"
    assert described('bootenv: ( { name = "a"; value = "b"; } );').bootenv == {"a": "b"}
    assert (
        "with selection stable,copy1" in problem("stable = { copy1 = { images: () } };", None, STABLE).message
    )


# -- links


@pytest.mark.parametrize(
    "inside",
    [
        "common = { " + IMAGE + ' }; stable = { copy1 = { ref = "#./../common"; }; };',
        "common = { " + IMAGE + ' }; stable = { copy1 = { ref = "#/software/common"; }; };',
        "common = { " + IMAGE + ' }; stable = { copy1 = { ref = "#software/common"; }; };',
        "common = { " + IMAGE + ' }; stable = { copy1 = { images = { ref = "#./../../common/images"; } } };',
        "x = { " + IMAGE + ' }; stable = { copy1 = { images: ( { ref = "#../../x/images"; } ) } };',
        'stable = { copy1 = { images = { ref = "#./b"; }; b = { ref = "#./c"; };'
        ' c: ( { filename = "a"; type = "t"; } ) } };',
    ],
)
def test_a_link_leads_to_what_it_names(inside: str) -> None:
    assert names(described(inside, None, STABLE).images) == "a"


def test_linked_entries_stand_in_the_place_of_their_link() -> None:
    release = described(
        'common: ( { filename = "b"; }, { ref = "#./more"; } ); more: ( { filename = "c"; } );'
        'files: ( { filename = "a"; }, { ref = "#./common"; }, { filename = "d"; } );'
        'bootenv: ( { ref = "#./env"; } ); env: ( { name = "n"; value = "v"; } );'
        'vars: ( { ref = "#./env"; } );'
    )
    assert names(release.files) == "a b c d"
    assert release.files[1].where == "software.common[0] b"
    assert release.bootenv == release.variables == {"n": "v"}


def test_a_link_replaces_an_attribute_and_a_whole_group() -> None:
    text = b"""software = { version = { ref = "#./v"; }; v = "7"; files: ( { filename = "all"; } );
        common = { images: ( { filename = "a"; device = "d"; } ) };
        bd = { ref = "#./common"; files: ( { filename = "hidden"; } ); };
    };"""
    release = parse(text, hardware=BOARD, selection=None)
    assert (release.version, names(release.images), names(release.files)) == ("7", "a", "all")


def test_a_link_on_the_way_is_not_followed() -> None:
    """upstream looks for links at the ends of paths only."""
    inside = (
        "stable = { copy1 = { "
        + IMAGE
        + ' } }; via = { ref = "#./stable"; }; files: ( { filename = "f"; } );'
    )
    release = described(inside, None, Selection("via", "copy1"))
    assert (names(release.images), names(release.files)) == ("", "f")


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('images = { ref = "#./x"; };', "leads to 'software.x', which is not there"),
        ('images: ( { ref = "#./x"; } );', "images[0]: ref = '#./x' leads to 'software.x'"),
        ('images = { ref = "#./images"; };', "in a circle"),
        ('images: ( { ref = "#./images"; } );', "in a circle"),
        ('images: ( { ref = "#./b"; } ); b: ( { ref = "#./images"; } );', "in a circle"),
        ('images = { ref = "./x"; };', "is not a link"),
        ('images = { ref = "#"; };', "is not a link"),
        ('images = { ref = "##"; };', "is not a link"),
        ('images = { ref = "#//"; };', "is not a link"),
        ("images = { ref = 7; };", "is not a link"),
        ('images = { ref = "#../../../x"; };', "leads out of the document"),
        ('images = { ref = "#./' + "x/" * 21 + '"; };', "more than 20 levels"),
        ('images: ( { ref = "#./x"; } ); x = { filename = "a"; };', "software.x is not a list"),
        (
            "".join(f'a{n} = {{ ref = "#./a{n + 1}"; }};' for n in range(12))
            + 'images = { ref = "#./a0"; };',
            "through 9 places",
        ),
        (
            "".join(f'a{n}: ( {{ ref = "#./a{n + 1}"; }} );' for n in range(12))
            + 'images = { ref = "#./a0"; };',
            "in a circle",
        ),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(inside: str, message: str) -> None:
    assert message in problem(inside).message


def test_links_cannot_multiply_without_an_end() -> None:
    fan = "".join(f"a{n}: ( " + f'{{ ref = "#./a{n + 1}"; }}, ' * 20 + ");" for n in range(8))
    assert "more than 65536 entries" in problem(fan + 'a8: (); images = { ref = "#./a0"; };').message


def test_a_section_may_be_one_object_in_json_only() -> None:
    entry = {"filename": "a", "device": "d"}
    text = json.dumps({"software": {"version": "1", "images": entry}}).encode()
    assert names(parse(text, hardware=None, selection=None).images) == "a"
    assert "is not a list" in problem('images = { filename = "a"; };').message
    assert "images[0] is not a group" in problem('images = [ "a" ];').message
    assert "is not a list" in problem('images = "a";').message


# -- entries


def test_the_attributes_of_an_entry() -> None:
    art = image(
        """
        name = "n"; version = "1.2"; install-if-different = true; install-if-higher = true; size = 12L;
        type = "t"; data = "d"; volume = "v"; mtdname = "m"; path = "/p"; filesystem = "ext4"; offset = "1K";
        compressed = "xz"; encrypted = "aes-cbc-128"; ivt = "000102030405060708090A0b0c0d0e0f";
        aes-key = "000102030405060708090A0b0c0d0e0f";
        sha256 = "00000000000000000000000000000000000000000000000000000000000000Ff";
        installed-directly = true; preserve-attributes = true; properties: { a = "1"; b = [ "2", "3" ]; };
        """
    )
    assert art == Artifact(
        kind=Kind.IMAGE,
        type="t",
        filename="a",
        name="n",
        version="1.2",
        install_if_different=True,
        install_if_higher=True,
        size_bytes=12,
        data="d",
        volume="v",
        device="/dev/x",
        mtdname="m",
        path="/p",
        filesystem="ext4",
        offset_bytes=1024,
        compression=Compression.XZ,
        cipher="aes-cbc-128",
        ivt=bytes(range(16)),
        aes_key=bytes(range(16)),
        sha256=bytes(31) + b"\xff",
        installed_directly=True,
        preserve_attributes=True,
        properties={"a": ("1",), "b": ("2", "3")},
        where="images[0] a",
    )


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ("size = 0;", "size_bytes", None),
        ("size = 5000000000;", "size_bytes", 5_000_000_000),
        ("offset = 0x10;", "offset_bytes", 16),
        ("compressed = true;", "compression", Compression.ZLIB),
        ("compressed = false;", "compression", Compression.NONE),
        ('compressed = "zlib";', "compression", Compression.ZLIB),
        ('compressed = "zstd";', "compression", Compression.ZSTD),
        ("encrypted = true;", "cipher", "aes-cbc"),
        ("encrypted = false;", "cipher", ""),
        ('encrypted = "aes-cbc-256"; aes-key = "' + "0" * 64 + '";', "cipher", "aes-cbc-256"),
        ('sha256 = "' + "0" * 64 + '";', "sha256", None),
        ('aes-key = "' + "0" * 48 + '";', "aes_key", bytes(24)),
        ('type = "";', "type", "raw"),
        ('data = "' + "d" * 255 + '";', "data", "d" * 255),
        ('properties: { deep: { x = "1"; y = "2"; }; none = []; };', "properties", {"deep": ("1", "2")}),
        ('unheard-of = ( 1, "x" );', "label", "a"),
    ],
)
def test_an_attribute_is_read_as(attributes: str, field: str, value: object) -> None:
    assert getattr(image(attributes), field) == value


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("name = 1;", "name must be a text in double quotes, not a number"),
        ("data = true;", "data must be a text in double quotes, not a boolean"),
        ('data = "' + "d" * 256 + '";', "data is 256 bytes long; the limit is 255"),
        ('data = "' + "é" * 128 + '";', "data is 256 bytes long"),
        ('size = "12";', "size must be a whole number of bytes, not a text"),
        ("size = 1.5;", "size must be a whole number"),
        ("size = true;", "size must be a whole number"),
        ("size = -1;", "size is negative"),
        ("offset = -1;", "offset is negative"),
        ("offset = 1.5;", "offset must be"),
        ("offset = false;", "offset must be"),
        ('offset = "64X";', "offset is no position: '64X'"),
        ('offset = "";', "offset is no position"),
        ('offset = "-1";', "offset is no position"),
        ('offset = "089";', "offset is no position"),
        ('offset = "9999999999G";', "offset is no position"),
        ('compressed = "lz4";', "lz4' is not supported"),
        ('compressed = "bzip2";', "compressed is 'bzip2'"),
        ("compressed = 1;", "compressed must be a text"),
        ('encrypted = "aes-ctr-256";', "encrypted = 'aes-ctr-256' is not supported"),
        ('encrypted = "aes-gcm";', "encrypted is an unknown cipher: 'aes-gcm'"),
        ('encrypted = "true";', "encrypted is an unknown cipher"),
        ('encrypted = "aes-cbc-256"; aes-key = "' + "0" * 32 + '";', "aes-key has 128 bits"),
        ('ivt = "00";', "ivt must be 32 hexadecimal digits"),
        ('ivt = "' + "g" * 32 + '";', "ivt must be 32 hexadecimal digits"),
        ('aes-key = "' + "0" * 40 + '";', "aes-key must be 32 or 48 or 64"),
        ('sha256 = "' + "0" * 63 + '";', "sha256 must be 64"),
        ('sha256 = "' + "0" * 62 + ' 0";', "sha256 must be 64"),
        ('sha256 = "' + "0" * 63 + "\n" + '";', "sha256 must be 64"),
        ('installed-directly = "true";', "installed-directly must be true or false"),
        ("install-if-higher = 1;", "install-if-higher must be true or false"),
        ('properties = "a";', "properties must be a group"),
        ("properties: { a = 1; };", "property a must be a text, not a number"),
        ("properties: { a = true; };", "property a must be a text"),
        ('properties: { a = ( "x", { b = "c"; } ); };', "property a must be a text, not a group"),
        ("properties: { a: { b = 1; } };", "property a must be a text"),
        ("hook = 1;", "hook must be a text"),
        ("preinstall = true;", "preinstall must be a text"),
        ("postinstall = 1;", "postinstall must be a text"),
    ],
)
def test_a_wrong_attribute_is_refused_by_name(attributes: str, message: str) -> None:
    said = image_problem(attributes)
    assert said.startswith("sw-description: images[0] a: ")
    assert message in said


def test_the_error_knows_its_member_and_keeps_the_key() -> None:
    error = problem('images: ( { filename = "a"; aes-key = "00deadbeef"; } );')
    assert error.artifact == "a"
    assert "deadbeef" not in error.message + error.hint


def test_numbers_in_properties_are_told_how_to_be_written() -> None:
    assert (
        problem('files: ( { filename = "a"; properties: { n = 7; }; } );').hint == 'write n = "7", in quotes'
    )
    assert (
        problem('files: ( { filename = "a"; properties: { n = TRUE; }; } );').hint
        == 'write n = "true", in quotes'
    )


def test_a_nested_object_in_json_properties_is_no_list() -> None:
    entry = {"filename": "a", "properties": {"p": {"q": "r"}}}
    text = json.dumps({"software": {"version": "1", "files": [entry]}}).encode()
    with pytest.raises(DescriptionError, match="property p must be a text, not a group"):
        parse(text, hardware=None, selection=None)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "../a", "TRAILER!!!", "sw-description", "sw-description.sig", "n" * 255],
)
def test_a_member_has_a_plain_name(name: str) -> None:
    for section in ("images", "files", "scripts"):
        assert "filename" in problem(f'{section}: ( {{ filename = "{name}"; device = "d"; }} );').message


def test_a_member_name_may_be_as_long_as_cpio_allows() -> None:
    assert described(f'files: ( {{ filename = "{"n" * 254}"; }} );').files


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('images: ( { device = "/dev/x"; } );', "images[0]: filename is missing"),
        ('files: ( { name = "n"; } );', "files[0] n: filename is missing"),
        ('images: ( { filename = "a"; } );', "images[0] a: type is missing"),
        ('partitions: ( { name = "v"; } );', "partitions[0] v: device is missing"),
        ('partitions: ( { device = "mtd0"; } );', "partitions[0]: name is missing"),
    ],
)
def test_what_an_entry_cannot_do_without(inside: str, message: str) -> None:
    assert message in problem(inside).message


def test_only_ubi_volumes_need_a_name() -> None:
    assert described('partitions: ( { type = "diskpart"; device = "/dev/sda"; } );').partitions[0].name == ""


# -- variables


def test_the_first_of_two_variables_counts_and_bootenv_hides_uboot() -> None:
    text = b"""software = { version = "1"; uboot: ( { name = "hidden"; value = "x"; } );
        bootenv: ( { name = "a"; value = "1"; }, { name = "a"; value = "2"; }, { name = "gone"; } ); };"""
    release, warnings = parse_with_warnings(text, hardware=None, selection=None)
    assert release.bootenv == {"a": "1", "gone": ""}
    assert ["set twice" in warnings[0], "has no value" in warnings[1]] == [True, True]


def test_uboot_counts_where_there_is_no_bootenv() -> None:
    inside = 'uboot: ( { name = "a"; value = "1"; } ); bd: { bootenv: ( { name = "b"; value = "2"; } ) };'
    assert described(inside).bootenv == {"a": "1"}
    assert described(inside, BOARD).bootenv == {"b": "2"}


@pytest.mark.parametrize("section", ["bootenv", "uboot", "vars"])
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('value = "x";', "name is missing"),
        ('name = ""; value = "x";', "name is missing"),
        ('name = "a=b"; value = "x";', "cannot be stored"),
        ('name = "a\nb"; value = "x";', "cannot be stored"),
        ('name = "a"; value = "x\ny";', "cannot be stored"),
        ('name = "a"; value = "x\\ry";', "cannot be stored"),
        ('name = "a"; value = 1;', "value must be a text"),
        ('name = "a"; value = "' + "x" * 1021 + '";', "is too long"),
        ('name = "a"; value = "x"; hook = 1;', "hook must be a text"),
    ],
)
def test_a_variable_that_cannot_be_stored_is_refused(section: str, entry: str, message: str) -> None:
    said = problem(f"{section}: ( {{ {entry} }} ); {IMAGE}").message
    assert said.startswith(f"sw-description: {section}[0]")
    assert message in said


def test_a_variable_may_fill_its_line() -> None:
    assert described('bootenv: ( { name = "a"; value = "' + "x" * 1020 + '"; } );').bootenv


# -- warnings


def test_a_misspelt_attribute_is_told_and_others_are_not() -> None:
    text = b"""software = { version = "1"; hardware-compatibilty = [ "1" ]; colour = "red"; fils: ();
        files: ( { filename = "a"; instaled-directly = true; flavour = 1; compressed = true; } );
        bootenv: ( { name = "a"; valeu = "b"; } ); };"""
    _, warnings = parse_with_warnings(text, hardware=None, selection=None)
    assert [warning.removeprefix("sw-description: ") for warning in warnings] == [
        "software: hardware-compatibilty is ignored; did you mean hardware-compatibility?",
        "software: fils is ignored; did you mean files?",
        "files[0] a: instaled-directly is ignored; did you mean installed-directly?",
        'files[0] a: compressed = true is the old way to say compressed = "zlib"',
        "bootenv[0]: valeu is ignored; did you mean value?",
        "bootenv[0]: 'a' has no value, so it is removed",
    ]


def test_warnings_are_bounded() -> None:
    entries = "".join(f'{{ filename = "a"; filenam{n} = "x"; }}, ' for n in range(500))
    _, warnings = parse_with_warnings(
        f'software = {{ version = "1"; files: ( {entries} ); }};'.encode(), hardware=None, selection=None
    )
    assert len(warnings) == 50


# -- both languages


def test_both_languages_mean_the_same() -> None:
    text = f'software = {{ version = "1"; {LEVELS} bootenv: ( {{ name = "a"; value = "b"; }} ); }};'.encode()
    as_json = b"\n\t " + json.dumps(read(text)).encode()
    for hardware in (None, BOARD):
        for selection in (None, STABLE):
            expected = parse(text, hardware=hardware, selection=selection)
            assert parse(as_json, hardware=hardware, selection=selection) == expected


@pytest.mark.parametrize(
    "text", [b"", b"   \n", b"{", b"}", b"{}", b"software", b"\x1f\x8b\x08", b"software = ( );"]
)
def test_what_is_no_description_is_refused(text: bytes) -> None:
    with pytest.raises(DescriptionError):
        parse(text, hardware=None, selection=None)


# -- sizes


def requiring(text: str) -> Description:
    body = f'version = "1"; {text} bootenv: ( {{ name = "a"; value = "b"; }} );'
    return parse(f"software = {{ {body} }};".encode(), hardware=None, selection=None)


def test_what_must_be_installed_already() -> None:
    found = requiring('requires = { bootloader = ">=1.2"; app = ">=2,<3"; };')
    assert found.requires == {"bootloader": ">=1.2", "app": ">=2,<3"}
    assert requiring("").requires == {}


def test_the_same_in_json() -> None:
    text = b'{"software": {"version": "1", "requires": {"my.app": "2"}, "bootenv": [{"name": "a", "value": "b"}]}}'
    assert parse(text, hardware=None, selection=None).requires == {"my.app": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('requires = "app";', "requires must be a group of texts"),
        ('requires = ( "app" );', "requires must be a group of texts"),
        ("requires = { app = 2; };", "app must be a text"),
        ('requires = { app = "later"; kernel = ">"; };', "requires.kernel '>' is not a comparison"),
        ('requires = { app = ""; };', "is not a comparison"),
        ("requires = { " + "".join(f'a{i} = "1"; ' for i in range(101)) + "};", "more than 100"),
    ],
)
def test_requirements_that_are_none(text: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        requiring(text)
