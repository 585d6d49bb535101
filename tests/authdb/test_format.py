"""The file to the byte: against C, against every single changed byte, against numbers that lie."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent.authdb.crc16 import PERIOD_BYTES, Crc16, crc16
from swagent.authdb.layout import ABIS, ILP32, LP64, Abi, Matching
from swagent.authdb.reader import open_database
from swagent.authdb.writer import rewrite
from swagent.crypto import schemes
from swagent.errors import DecryptError, DeviceError, MetadataError, SignatureError, SwagentError

from .databases import KEY, a_list, check, make, public, records

SCHEMES = ("ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsassa-pss-sha256")


# -- the checksum


def slow_crc(data: bytes) -> int:
    """As textbooks have it: bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def test_the_checksum_is_arc() -> None:
    assert crc16(b"123456789") == 0xBB3D
    assert crc16(b"") == 0


@pytest.mark.parametrize(
    "size", [1, 100, PERIOD_BYTES - 1, PERIOD_BYTES, PERIOD_BYTES + 1, 3 * PERIOD_BYTES + 7]
)
def test_the_checksum_of_long_streams(size: int) -> None:
    data = bytes((i * i + 3) & 0xFF for i in range(size))
    crc = Crc16()
    for at in range(0, size, 1000):
        crc.update(data[at : at + 1000])
    assert crc.value() == slow_crc(data)


# -- round trips

names = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=16).filter(
    lambda n: n != "signature"
)
lists = st.builds(
    lambda name, records, allow, matching, alg: a_list(
        name, *records, allow=allow, matching=matching, alg=alg
    ),
    names,
    st.lists(st.binary(min_size=1, max_size=40).filter(lambda record: b"\0" not in record), max_size=6),
    st.booleans(),
    st.sampled_from(Matching),
    st.sampled_from(["none", "aes-256-cbc", "aes-256-gcm"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lists, max_size=4), st.sampled_from(list(ABIS.values())), st.booleans())
def test_what_is_written_is_read(tmp_path: Path, given_lists: list, abi: Abi, signed: bool) -> None:  # type: ignore[type-arg]
    key = schemes.from_seed(bytes(32)) if signed else None
    path = make(tmp_path / "x.db", given_lists, abi=abi, signer=key)
    with open_database(str(path), public(key) if key else ()) as database:
        assert database.abi is abi
        assert database.header.project == "test"
        for number, one in enumerate(given_lists):
            section = database.sections[number]
            assert (section.name, section.allow, section.matching, section.alg) == (
                one.name,
                one.allow,
                one.matching,
                one.alg,
            )
            assert records(database, number) == list(one.records())


# -- C

STRUCTS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
struct security_header {
    char magic[4]; char project[16]; short major_ver; short minor_ver; size_t header_size; off_t section_entry;
    size_t sections; size_t section_size; unsigned short crc_ploynomial; unsigned short content_crc;
};
struct section_header {
    char name[16]; char alg[16]; unsigned int flags; size_t entities; size_t entity_size; off_t entry;
};
static unsigned short crc(const unsigned char *p, size_t n) {
    unsigned short c = 0;
    while (n--) { c ^= *p++; for (int i = 0; i < 8; i++) c = c & 1 ? (c >> 1) ^ 0xA001 : c >> 1; }
    return c;
}
"""
WRITE_C = (
    STRUCTS
    + """
int main(int argc, char **argv) {
    struct { struct security_header h; struct section_header s[2]; char msn[3][8]; char model[1][5]; } f;
    memset(&f, 0, sizeof f);
    memcpy(f.h.magic, "UNI", 4); strcpy(f.h.project, "g4_bba");
    f.h.major_ver = 1; f.h.minor_ver = 1; f.h.header_size = sizeof f.h;
    f.h.section_entry = (char *)f.s - (char *)&f; f.h.sections = 2; f.h.section_size = sizeof f.s[0];
    f.h.crc_ploynomial = 0xA001;
    strcpy(f.s[0].name, "msn"); strcpy(f.s[0].alg, "none"); f.s[0].flags = 1;
    f.s[0].entities = 3; f.s[0].entity_size = 8; f.s[0].entry = (char *)f.msn - (char *)&f;
    strcpy(f.s[1].name, "model_number"); strcpy(f.s[1].alg, "none"); f.s[1].flags = 2;
    f.s[1].entities = 1; f.s[1].entity_size = 5; f.s[1].entry = (char *)f.model - (char *)&f;
    strcpy(f.msn[0], "SN1"); strcpy(f.msn[1], "SN22"); memcpy(f.msn[2], "SN333333", 8);
    strcpy(f.model[0], "B*");
    f.h.content_crc = crc((unsigned char *)&f + sizeof f.h, sizeof f - sizeof f.h);
    return fwrite(&f, sizeof f, 1, stdout) != 1;
}
"""
)
READ_C = (
    STRUCTS
    + """
int main(int argc, char **argv) {
    static unsigned char b[1 << 16];
    size_t n = fread(b, 1, sizeof b, stdin);
    struct security_header h; memcpy(&h, b, sizeof h);
    if (memcmp(h.magic, "UNI", 4) || h.header_size != sizeof h) return 1;
    if (h.section_size != sizeof(struct section_header)) return 3;
    if (h.content_crc != crc(b + sizeof h, n - sizeof h)) return 2;
    printf("%s %d.%d %x\\n", h.project, h.major_ver, h.minor_ver, h.crc_ploynomial);
    for (size_t i = 0; i < h.sections; i++) {
        struct section_header s; memcpy(&s, b + h.section_entry + i * h.section_size, sizeof s);
        printf("%s %s %u", s.name, s.alg, s.flags);
        for (size_t r = 0; r < s.entities; r++) printf(" %.*s", (int)s.entity_size, b + s.entry + r * s.entity_size);
        printf("\\n");
    }
    return 0;
}
"""
)


def compiled(tmp_path: Path, source: str, abi: Abi) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc: apt-get install gcc")
    (tmp_path / "p.c").write_text(source)
    program = tmp_path / "p"
    wide = "-m64" if abi is LP64 else "-m32"
    run = subprocess.run(
        [gcc, wide, "-o", program, tmp_path / "p.c"], capture_output=True, text=True, check=False
    )
    if run.returncode:
        package = "libc6-dev" if abi is LP64 else "gcc-multilib"
        pytest.skip(f"gcc {wide} does not work here: apt-get install {package}")
    return program


@pytest.mark.parametrize("abi", ABIS.values(), ids=lambda abi: abi.name)
def test_a_file_made_by_c_is_read(tmp_path: Path, abi: Abi) -> None:
    program = compiled(tmp_path, WRITE_C, abi)
    path = tmp_path / "c.db"
    path.write_bytes(subprocess.run([program], capture_output=True, check=True).stdout)
    with open_database(str(path)) as database:
        assert database.abi is abi
        assert database.header.project == "g4_bba"
        msn, model = database.sections
        assert (msn.name, msn.allow, msn.matching) == ("msn", True, Matching.RAW)
        assert (model.name, model.allow, model.matching) == ("model_number", False, Matching.GLOB)
        assert records(database, 0) == [b"SN1", b"SN22", b"SN333333"]
        assert records(database, 1) == [b"B*"]


@pytest.mark.parametrize("abi", ABIS.values(), ids=lambda abi: abi.name)
def test_a_file_of_ours_is_read_by_c(tmp_path: Path, abi: Abi) -> None:
    program = compiled(tmp_path, READ_C, abi)
    path = make(
        tmp_path / "x.db", [a_list("msn", "A1", "LONGER"), a_list("model_number", "B", allow=False)], abi=abi
    )
    printed = subprocess.run([program], input=path.read_bytes(), capture_output=True, check=True).stdout
    assert printed.decode().splitlines() == ["test 1.1 a001", "msn none 1 A1 LONGER", "model_number none 0 B"]


def test_the_32_bit_layout_is_what_the_document_says() -> None:
    """Where no compiler for it is there, the offsets of the document still hold."""
    assert (ILP32.header.size, ILP32.section.size, ILP32.crc_offset) == (44, 48, 42)
    assert (LP64.header.size, LP64.section.size, LP64.crc_offset) == (64, 64, 58)
    sample = ILP32.section.pack(b"msn", b"none", 1, 2, 3, 4)
    assert [struct.unpack_from("<I", sample, at)[0] for at in (32, 36, 40, 44)] == [1, 2, 3, 4]
    head = ILP32.header.pack(b"UNI\0", b"p", 1, 1, 44, 5, 6, 48, 0xA001, 7)
    assert [struct.unpack_from("<I", head, at)[0] for at in (24, 28, 32, 36)] == [44, 5, 6, 48]


# -- changed bytes


@pytest.mark.parametrize("scheme", SCHEMES)
def test_any_changed_byte_of_a_signed_file_is_refused(tmp_path: Path, scheme: str) -> None:
    key = schemes.generate(scheme)
    lists_given = [a_list("msn", "A1", "B22"), a_list("model_number", "M", alg="aes-256-gcm"), a_list("time")]
    path = make(tmp_path / "x.db", lists_given, signer=key)
    good = path.read_bytes()
    trust = public(key)
    open_database(str(path), trust).close()
    positions = range(len(good)) if not scheme.startswith("rsa") else range(0, len(good), 7)
    for at in positions:
        for mask in (0x01, 0x80):
            path.write_bytes(good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :])
            with pytest.raises((MetadataError, SignatureError)):
                open_database(str(path), trust)


@pytest.mark.parametrize("abi", ABIS.values(), ids=lambda abi: abi.name)
def test_any_changed_byte_under_the_checksum_is_refused(tmp_path: Path, abi: Abi) -> None:
    path = make(tmp_path / "x.db", [a_list("msn", "A1", "B22"), a_list("date", "2026-01-01..")], abi=abi)
    good = path.read_bytes()
    for at in (*range(4), *range(abi.crc_offset, abi.crc_offset + 2), *range(abi.header.size, len(good))):
        for mask in (0x01, 0x18, 0xFF):
            path.write_bytes(good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :])
            with pytest.raises(MetadataError):
                open_database(str(path))


def test_cut_or_longer_files_are_refused(tmp_path: Path) -> None:
    key = schemes.generate()
    path = make(tmp_path / "x.db", [a_list("msn", "A1", "B22")], signer=key)
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises((MetadataError, SignatureError)):
            open_database(str(path), public(key))
    path.write_bytes(good + b"\0" * 3)
    with pytest.raises((MetadataError, SignatureError)):
        open_database(str(path), public(key))


def test_signatures_of_others_and_none(tmp_path: Path) -> None:
    key, other = schemes.generate(), schemes.generate()
    unsigned = make(tmp_path / "u.db", [a_list("msn", "A")])
    signed = make(tmp_path / "s.db", [a_list("msn", "A")], signer=key)
    with pytest.raises(SignatureError, match="not signed"):
        open_database(str(unsigned), public(key))
    with pytest.raises(SignatureError, match="no trusted key"):
        open_database(str(signed), public(other))
    with open_database(str(signed), (*public(other), *public(key))) as database:
        assert database.signer == "ed25519"
    with open_database(str(signed)) as database:  # nobody asks
        assert database.signer == ""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_can_be_signed_afterwards_and_anew(tmp_path: Path, scheme: str) -> None:
    first, second = schemes.generate(), schemes.generate(scheme)
    path = make(tmp_path / "x.db", [a_list("msn", "A", alg="aes-256-gcm"), a_list("time")], signer=first)
    with open_database(str(path), public(first)) as database:
        rewrite(str(path), database, signer=second)
    with open_database(str(path), public(second)) as database:
        assert records(database, 0) == [b"A"]
        assert len(database.sections) == 2
    with pytest.raises(SignatureError):
        open_database(str(path), public(first))


# -- numbers that lie

HEADER_FIELDS = ("section_entry", "sections", "section_size")
HUGE = (0, 1, 63, 65, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def with_number(data: bytes, offset: int, value: int) -> bytes:
    """A number replaced, and the checksum right again."""
    changed = bytearray(data)
    struct.pack_into("<Q", changed, offset, value)
    struct.pack_into("<H", changed, LP64.crc_offset, slow_crc(bytes(changed[LP64.header.size :])))
    return bytes(changed)


@pytest.mark.parametrize("offset", [24, 32, 40, 48, 64 + 40, 64 + 48, 64 + 56])
def test_numbers_from_outside_cost_no_memory(tmp_path: Path, offset: int) -> None:
    import tracemalloc

    path = make(tmp_path / "x.db", [a_list("msn", "A1", "B22")])
    good = path.read_bytes()
    right = struct.unpack_from("<Q", good, offset)[0]
    for value in HUGE:
        if value == right:
            continue
        path.write_bytes(with_number(good, offset, value))
        tracemalloc.start()
        try:
            with open_database(str(path)) as database:  # 0 or 1 may make a smaller list of it
                assert sum(section.size_bytes for section in database.sections) < len(good)
        except MetadataError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 200_000


@pytest.mark.parametrize("flags", [0b110, 0b1000, 0x80000000])
def test_flags_that_mean_nothing(tmp_path: Path, flags: int) -> None:
    path = make(tmp_path / "x.db", [a_list("msn", "A1")])
    data = path.read_bytes()
    path.write_bytes(with_number(data, 64 + 32, flags))
    with pytest.raises(MetadataError, match="flags"):
        open_database(str(path))


def test_parts_that_overlap(tmp_path: Path) -> None:
    path = make(tmp_path / "x.db", [a_list("msn", "A1"), a_list("time", "B2")])
    data = path.read_bytes()
    path.write_bytes(with_number(data, 64 + 64 + 56, 64 + 128))  # the second list's entry is the first one's
    with pytest.raises(MetadataError, match="overlap"):
        open_database(str(path))


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises((MetadataError, DeviceError)):
            open_database(str(path))
    with pytest.raises(DeviceError) as caught:
        open_database(str(tmp_path / "missing"))
    assert caught.value.errno == 2


def test_a_file_that_changes_after_it_was_verified_is_noticed(tmp_path: Path) -> None:
    key = schemes.generate()
    path = make(tmp_path / "x.db", [a_list("msn", "A1", "B2")], signer=key)
    with open_database(str(path), public(key)) as database:
        data = path.read_bytes()
        with open(path, "r+b") as file:
            file.seek(data.index(b"A1"))
            file.write(b"X9")
        with pytest.raises(MetadataError, match="changed"):
            list(database.blocks(database.sections[0]))


# -- encrypted records


@pytest.mark.parametrize("alg", ["aes-256-cbc", "aes-256-gcm"])
def test_encrypted_records_need_their_key(tmp_path: Path, alg: str) -> None:
    path = make(tmp_path / "x.db", [a_list("msn", "SERIAL-1", "SERIAL-22", alg=alg)])
    assert b"SERIAL" not in path.read_bytes()
    assert check(path, {"msn": "SERIAL-22"})
    for key in (None, KEY._replace(value=bytes(32)), KEY._replace(value=bytes(16))):
        with pytest.raises(SwagentError):
            check(path, {"msn": "SERIAL-22"}, key=key)


def test_authenticated_records_stay_where_they_belong(tmp_path: Path) -> None:
    """Records swapped, or moved from the deny list to the allow list, with a right checksum: nothing is opened."""
    path = make(
        tmp_path / "x.db",
        [
            a_list("msn", "A1", "B2", alg="aes-256-gcm"),
            a_list("msn", "C3", "D4", allow=False, alg="aes-256-gcm"),
        ],
    )
    with open_database(str(path)) as database:
        allow, deny = database.sections
    good = path.read_bytes()
    size = allow.entity_size
    swapped = bytearray(good)
    swapped[allow.entry : allow.entry + 2 * size] = (
        good[allow.entry + size : allow.entry + 2 * size] + good[allow.entry : allow.entry + size]
    )
    moved = bytearray(good)
    moved[allow.entry : allow.entry + 2 * size] = good[deny.entry : deny.entry + 2 * size]
    shorter = bytearray(good)
    struct.pack_into("<Q", shorter, 64 + 64 + 40, 1)  # one record less to deny
    for changed in (swapped, moved, shorter):
        struct.pack_into("<H", changed, LP64.crc_offset, crc16(bytes(changed[64:])))
        path.write_bytes(changed)
        with open_database(str(path)) as database, pytest.raises(DecryptError):
            records(database, 0), records(database, 1)


def test_a_database_is_closed_when_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"UNI\0" + bytes(100))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(MetadataError):
        open_database(str(path))
    assert os.listdir("/proc/self/fd") == before
