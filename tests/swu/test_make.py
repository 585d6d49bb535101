"""Images as we build them."""

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from swagent.crypto.cipher import AesKey, read_key_file
from swagent.errors import ArchiveError, DescriptionError, DeviceError, HashError, SettingsError, SwagentError
from swagent.parser.describe import read_tree
from swagent.swu.encrypt import bare_key
from swagent.swu.entries import entries
from swagent.swu.make import Made, _write, make
from swagent.swu.staging import Sources, Staging
from tests.handlers.zckfile import zck_header

from .keys import AES_TEXT

AES = AesKey(bytes.fromhex(AES_TEXT.split()[0]), bytes.fromhex(AES_TEXT.split()[1]))


def build(bench: Path, text: str, **options: Any) -> Made:
    (bench / "sw-description").write_text(text)
    return make(str(bench / "sw-description"), output=str(bench / "out.swu"), **options)


def one_image(attributes: str, filename: str = "a.bin") -> str:
    entry = f'{{ filename = "{filename}"; type = "raw"; device = "/dev/x"; {attributes} }}'
    return 'software = { version = "1"; images: ( ' + entry + " ); };"


def entry_of(made: Made, filename: str = "a.bin") -> dict[str, Any]:
    tree, _ = read_tree(made.description)
    (found,) = {id(e.group): e.group for e in entries(tree) if e.filename == filename}.values()
    return found


def member(bench: Path, name: str) -> bytes:
    done = subprocess.run(
        ["cpio", "-i", "--to-stdout", "--quiet", name], input=(bench / "out.swu").read_bytes(),
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt-get install {package}")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_entry_gets_its_digest(bench: Path) -> None:
    made = build(
        bench,
        """software = { version = "1";
        common: { images: ( { filename = "b.bin"; device = "/dev/b"; } ); };
        board: { images: ( { ref = "#../common/images"; }, { filename = "a.bin"; device = "/dev/a"; } ); };
        stable: { main: { files: ( { filename = "a.bin"; path = "/a"; sha256 = "@a.bin"; size = 1; } ); }; };
        scripts: ( { filename = "b.bin"; type = "shellscript"; } ); };""",
    )
    tree, _ = read_tree(made.description)
    found = [(e.filename, e.group["sha256"], e.group.get("size")) for e in entries(tree)]
    a, b = (digest((bench / name).read_bytes()) for name in ("a.bin", "b.bin"))
    assert found == [("b.bin", b, None), ("a.bin", a, None), ("a.bin", a, 102400), ("b.bin", b, None)]
    assert [m.name for m in made.members] == ["b.bin", "a.bin"]


def test_variables_and_functions(bench: Path) -> None:
    made = build(
        bench,
        one_image(
            'data = "@@X@@ $swupdate_get_sha256(b.bin)"; size = $swupdate_get_size(a.bin); offset = @@N@@;'
        ),
        variables={"X": "@@N@@", "N": "5000000000"},
    )
    entry = entry_of(made)
    assert entry["data"] == "@@N@@ " + digest((bench / "b.bin").read_bytes())
    assert entry["size"] == 102400
    assert entry["offset"] == 5_000_000_000


def test_an_undefined_variable_is_named_with_its_line(bench: Path) -> None:
    with pytest.raises(
        DescriptionError, match=r"sw-description:2: variable VERSION is not defined"
    ) as caught:
        build(bench, '\nsoftware = { version = "@@VERSION@@"; };', variables={"VERSIO": "1"})
    assert "VERSIO" in caught.value.hint


@pytest.mark.parametrize("value", ['a"; x = "b', "a\\", "a\nb"])
def test_a_value_cannot_end_its_string(bench: Path, value: str) -> None:
    with pytest.raises(DescriptionError, match="quote, backslash or control"):
        build(bench, one_image('data = "@@X@@";'), variables={"X": value})


def test_an_unknown_function_is_an_error(bench: Path) -> None:
    with pytest.raises(DescriptionError, match="swupdate_get_pkgvar"):
        build(bench, one_image('data = "$swupdate_get_pkgvar(x)";'))


def test_include_is_refused(bench: Path) -> None:
    (bench / "other").write_text('version = "1";')
    with pytest.raises(DescriptionError):
        build(bench, f'software = {{\n@include "{bench}/other"\n}};')


@pytest.mark.parametrize(
    ("word", "program", "package"),
    [("zlib", "gzip", "gzip"), ("xz", "xz", "xz-utils"), ("zstd", "zstd", "zstd")],
)
def test_a_member_is_compressed(bench: Path, word: str, program: str, package: str) -> None:
    need(program, package)
    made = build(bench, one_image(f'compressed = "{word}";'))
    stored = member(bench, "a.bin")
    plain = subprocess.run([program, "-dc"], input=stored, capture_output=True, check=True).stdout
    assert plain == (bench / "a.bin").read_bytes()
    assert len(stored) < len(plain)
    entry = entry_of(made)
    assert entry["sha256"] == digest(stored)
    assert entry["properties"] == {"decompressed-size": "102400"}


@pytest.mark.parametrize("attribute", ['compressed = "zlib";', "compressed = true;"])
def test_a_compressed_file_is_left_alone(bench: Path, attribute: str) -> None:
    packed = gzip.compress(b"plain" * 1000, mtime=7)
    (bench / "a.bin").write_bytes(packed)
    made = build(bench, one_image(attribute))
    assert member(bench, "a.bin") == packed
    assert entry_of(made)["properties"] == {"decompressed-size": "5000"}


def test_a_cut_compressed_file_is_found(bench: Path) -> None:
    (bench / "a.bin").write_bytes(lzma.compress(os.urandom(1000))[:-30])
    with pytest.raises(ArchiveError, match=r"a\.bin"):
        build(bench, one_image('compressed = "xz";'))
    assert not (bench / "out.swu").exists()


def decrypt(stored: bytes, ivt: str) -> bytes:
    need("openssl", "openssl")
    return subprocess.run(
        ["openssl", "enc", "-d", "-aes-256-cbc", "-K", bare_key(AES).hex(), "-iv", ivt],
        input=stored, capture_output=True, check=True,
    ).stdout  # fmt: skip


def test_a_member_is_compressed_then_encrypted(bench: Path) -> None:
    made = build(bench, one_image('compressed = "zlib"; encrypted = true;'), encryption=AES)
    stored = member(bench, "a.bin")
    entry = entry_of(made)
    packed = decrypt(stored, entry["ivt"])
    assert gzip.decompress(packed) == (bench / "a.bin").read_bytes()
    assert entry["sha256"] == digest(stored)
    assert entry["properties"] == {"decompressed-size": "102400", "decrypted-size": str(len(packed))}


def test_vectors_follow_from_the_content(bench: Path) -> None:
    text = one_image("encrypted = true;")
    vector = entry_of(build(bench, text, encryption=AES))["ivt"]
    first = (bench / "out.swu").read_bytes()
    assert entry_of(build(bench, text, encryption=AES))["ivt"] == vector
    assert (bench / "out.swu").read_bytes() == first
    assert entry_of(build(bench, text, encryption=AesKey(bare_key(AES)[::-1], AES.iv)))["ivt"] != vector
    (bench / "a.bin").write_bytes(b"other")
    assert entry_of(build(bench, text, encryption=AES))["ivt"] != vector


def test_a_vector_that_is_given_is_kept(bench: Path) -> None:
    made = build(bench, one_image(f'encrypted = "aes-cbc"; ivt = "{"ab" * 16}";'), encryption=AES)
    assert entry_of(made)["ivt"] == "ab" * 16
    assert decrypt(member(bench, "a.bin"), "ab" * 16) == (bench / "a.bin").read_bytes()


def test_an_encrypted_entry_needs_a_key(bench: Path) -> None:
    with pytest.raises(SettingsError, match="no key"):
        build(bench, one_image("encrypted = true;"))


def test_a_key_does_not_stand_in_a_readable_description(bench: Path) -> None:
    text = one_image(f'encrypted = "aes-cbc-128"; aes-key = "{"ab" * 16}";')
    with pytest.raises(DescriptionError, match="readable"):
        build(bench, text, encryption=AES)
    made = build(bench, text, encryption=AES, encrypted_description=True)
    assert decrypt(member(bench, "sw-description"), AES.iv.hex()) == made.description


@pytest.mark.parametrize(
    "attributes",
    [
        'encrypted = "aes-cbc-256";',  # SWUpdate would find no key for it
        'encrypted = "aes-ctr-128";',
        'compressed = "lz4";',
        'encrypted = true; ivt = "12";',
        'properties = "x"; compressed = "zlib";',
    ],
)
def test_attributes_that_make_no_sense(bench: Path, attributes: str) -> None:
    with pytest.raises(DescriptionError):
        build(bench, one_image(attributes), encryption=AES)


def test_entries_must_agree(bench: Path) -> None:
    with pytest.raises(DescriptionError, match="disagree"):
        build(
            bench,
            'software = { version = "1"; images: ( { filename = "a.bin"; device = "/dev/x"; compressed = "zlib"; },'
            ' { filename = "a.bin"; device = "/dev/y"; } ); };',
        )


@pytest.mark.parametrize("name", ["sw-description", "sw-description.sig", "../a.bin", "dir/a.bin"])
def test_names_that_cannot_be_members(bench: Path, name: str) -> None:
    with pytest.raises((DescriptionError, ArchiveError)):
        build(bench, one_image("", name))


def test_a_missing_file_is_named_with_the_folders(bench: Path) -> None:
    with pytest.raises(DescriptionError, match=r"c\.bin is in none of the folders /nowhere, "):
        build(bench, one_image("", "c.bin"), search=["/nowhere"])


def test_the_first_folder_wins(bench: Path) -> None:
    (bench / "first").mkdir()
    (bench / "first" / "a.bin").write_bytes(b"first")
    build(bench, one_image(""), search=[str(bench / "first")])
    assert member(bench, "a.bin") == b"first"


def test_a_description_that_no_installer_takes_is_not_built(bench: Path) -> None:
    with pytest.raises(DescriptionError, match="stable,copy1"):
        build(
            bench,
            'software = { version = "1"; stable: { copy1: { images: ( { filename = "a.bin"; } ); };'
            ' copy2: { images: ( { filename = "a.bin"; device = "/dev/x"; } ); }; }; };',
        )


def test_what_was_there_stays_when_building_fails(bench: Path) -> None:
    build(bench, one_image(""))
    before = (bench / "out.swu").read_bytes()
    names = {path.name for path in bench.iterdir()}
    with pytest.raises(SwagentError):
        build(bench, one_image("", "c.bin"))
    assert (bench / "out.swu").read_bytes() == before
    assert {path.name for path in bench.iterdir()} == names


def test_a_file_that_changes_meanwhile_is_noticed(bench: Path) -> None:
    tree: dict[str, Any] = {"images": ({"filename": "a.bin"},)}
    staging = Staging(Sources([str(bench)]), str(bench), None)
    staged = staging.stage(list(entries(tree)))
    (bench / "a.bin").write_bytes(bytes(staged.stored_bytes))
    with pytest.raises(HashError, match="changed"):
        _write(str(bench / "out.swu"), b"", None, [staged], staging, "crc", 0)
    assert not (bench / "out.swu").exists()


def test_an_output_that_cannot_be_written(bench: Path) -> None:
    (bench / "sw-description").write_text(one_image(""))
    with pytest.raises(DeviceError):
        make(str(bench / "sw-description"), output="/nonexistent/out.swu")


def test_the_key_file_of_swupdate_is_read(keys: Any) -> None:
    assert read_key_file(str(keys.folder / "aes.key")) == AES


def test_a_handlers_own_filename_is_no_member(bench: Path) -> None:
    made = build(bench, one_image('properties = { filename = "elsewhere"; };'))
    assert [m.name for m in made.members] == ["a.bin"]
    assert entry_of(made)["properties"] == {"filename": "elsewhere"}


def delta(filename: str) -> str:
    return (
        'software = { version = "1"; images: ( { type = "delta"; device = "/dev/b"; '
        f'filename = "{filename}"; properties = {{ chain = "raw"; source = "/dev/a"; url = "http://h/x"; }}; }} ); }};'
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_of_a_zchunk_file_the_header_is_stored(bench: Path, compressed: bool) -> None:
    chunks = [(b"one" * 3000, b"stored"), (b"two" * 3000, b"otherwise")]
    header = zck_header(chunks)
    (bench / "a.zck").write_bytes(header + b"".join(stored for _, stored in chunks))
    (bench / "a.header").write_bytes(header)
    for name in ("a.zck", "a.header"):
        text = delta(name)
        made = build(bench, text.replace("type =", 'compressed = "zlib"; type =') if compressed else text)
        stored = member(bench, name)
        assert (gzip.decompress(stored) if compressed else stored) == header
        assert entry_of(made, name)["sha256"] == digest(stored)
    (bench / "a.bin").write_bytes(header + b"more")
    build(bench, one_image(""))
    assert member(bench, "a.bin") == header + b"more", "only delta means the header"


@pytest.mark.parametrize(("flags", "cut", "says"), [(0, 0, "no digests of the plain"), (4, 5, "cut short")])
def test_a_zchunk_file_that_no_device_could_use(bench: Path, flags: int, cut: int, says: str) -> None:
    header = zck_header([(b"one" * 3000, b"stored")], flags=flags)
    (bench / "a.zck").write_bytes(header[: len(header) - cut])
    with pytest.raises(ArchiveError, match=says):
        build(bench, delta("a.zck"))
    assert not (bench / "out.swu").exists()
