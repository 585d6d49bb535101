"""Images whose every byte is accounted for, put together here and not by swagent's own writer."""

import gzip
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from swagent.crypto.cipher import CbcEncryptor

NEWC, CRC = b"070701", b"070702"
FIELDS = (
    *("ino", "mode", "uid", "gid", "nlink", "mtime", "size"),
    *("devmajor", "devminor", "rdevmajor", "rdevminor", "namesize", "check"),
)
IGNORED = frozenset(FIELDS) - {"size", "namesize", "check"}
TRAILER = "TRAILER!!!"
DESCRIPTION, SIGNATURE = "sw-description", "sw-description.sig"
AES_KEY, AES_IV = bytes(range(32)), bytes(range(16))
KEY_FILE = f"{AES_KEY.hex()} {AES_IV.hex()}\n"


@dataclass(frozen=True)
class Member:
    """A member to be; ``size`` and ``name_bytes`` override what the header would say."""

    name: str
    data: bytes
    size: int | None = None

    def encode(self, magic: bytes) -> bytes:
        """Header, name, data, with their padding."""
        raw = self.name.encode() + b"\0"
        size = len(self.data) if self.size is None else self.size
        check = sum(self.data) & 0xFFFFFFFF if magic == CRC else 0
        fields = (7, 0o100644, 0, 0, 1, 0x5F000000, size, 0xAB, 0, 0, 0, len(raw), check)
        head = magic + b"".join(b"%08X" % value for value in fields) + raw
        return head + bytes(-len(head) % 4) + self.data + bytes(-len(self.data) % 4)


@dataclass(frozen=True)
class Region:
    """A stretch of an archive: ``what`` is magic, a header field, name, name padding, data, padding or end."""

    member: str
    what: str
    start: int
    end: int


def archive(members: Sequence[Member], magic: bytes = CRC, *, trailer: bool = True) -> bytes:
    """An archive, padded to 512 bytes."""
    raw = b"".join(member.encode(magic) for member in members)
    if trailer:
        raw += Member(TRAILER, b"").encode(magic)
        raw += bytes(-len(raw) % 512)
    return raw


def regions(members: Sequence[Member]) -> list[Region]:
    """Where everything lies in ``archive(members)``."""
    found: list[Region] = []
    at = 0

    def stretch(member: str, what: str, length: int) -> None:
        nonlocal at
        if length:
            found.append(Region(member, what, at, at + length))
        at += length

    for member in (*members, Member(TRAILER, b"")):
        name_bytes = len(member.name.encode()) + 1
        stretch(member.name, "magic", 6)
        for name in FIELDS:
            stretch(member.name, name, 8)
        stretch(member.name, "name", name_bytes)
        stretch(member.name, "name padding", -at % 4)
        stretch(member.name, "data", len(member.data))
        stretch(member.name, "padding", -at % 4)
    stretch("", "end", -at % 512)
    return found


@dataclass(frozen=True)
class Image:
    """A sound image and what it is expected to do.

    Attributes:
        direct: members that are streamed to their target.
        unused: members that no entry names.
        holds: file below the device's folder to what it holds afterwards.
        env: boot variables that it sets.
    """

    name: str
    magic: bytes
    members: tuple[Member, ...]
    direct: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()
    holds: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    @property
    def raw(self) -> bytes:
        """The whole archive."""
        return archive(self.members, self.magic)

    def with_members(self, change: Callable[[list[Member]], Sequence[Member]]) -> bytes:
        """The archive with other members; the signature stays."""
        return archive(change(list(self.members)), self.magic)


def noise(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size_bytes)


def half_noise(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes that compress to a half."""
    dice = random.Random(seed)
    return b"".join(dice.randbytes(64) + bytes(64) for _ in range(size_bytes // 128))


def encrypted(plain: bytes) -> bytes:
    """AES-CBC with the keys of ``KEY_FILE``."""
    encryptor = CbcEncryptor(AES_KEY, AES_IV)
    out = memoryview(bytearray(len(plain) + 64))
    n = encryptor.update_into(memoryview(plain), out)
    return bytes(out[:n]) + encryptor.finalize()


@cache
def signing_key() -> tuple[Callable[[bytes], bytes], bytes]:
    """Signs as ``openssl dgst -sha256 -sign`` does; and the public key as PEM."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256()), pem


_PROPERTIES = ("atomic_install", "create_destination", "chunk_table", "chunk_table_sha256")


def entry(member: Member, **attributes: str | int | bool) -> str:
    """An entry of a section, in libconfig's words."""
    words = [f'filename = "{member.name}"; sha256 = "{hashlib.sha256(member.data).hexdigest()}";']
    properties = {name: str(attributes.pop(name)) for name in _PROPERTIES if attributes.get(name)}
    if properties:
        listed = " ".join(
            f'{name.replace("_", "-")} = "{value.lower()}";' for name, value in properties.items()
        )
        words.append(f"properties = {{ {listed} }};")
    for name, value in attributes.items():
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        words.append(f"{name.replace('_', '-')} = {shown};")
    return "{ " + " ".join(words) + " }"


def described(sections: dict[str, list[str]], *, version: str = "2.0") -> bytes:
    """A description with these sections."""
    body = "".join(f"  {name} = ( {', '.join(entries)} );\n" for name, entries in sections.items())
    return f'software = {{\n  version = "{version}";\n  hardware-compatibility = [ "1.0" ];\n{body}}};\n'.encode()


def signed(description: bytes, *members: Member) -> tuple[Member, ...]:
    """The members of a signed image."""
    sign, _ = signing_key()
    return (Member(DESCRIPTION, description), Member(SIGNATURE, sign(description)), *members)


def zstd(plain: bytes) -> bytes:
    """One frame with a checksum."""
    from backports import zstd as library

    return bytes(library.compress(plain, options={library.CompressionParameter.checksum_flag: 1}))


def plain_image(root: str, *, size_bytes: int = 40_000, magic: bytes = CRC) -> Image:
    """A raw image, streamed; also a member that nobody wants."""
    member = Member("rootfs.img", noise(size_bytes))
    other = Member("for-another-board.bin", noise(777, 2))
    text = described({"images": [entry(member, device=f"{root}/slot-b.img", installed_directly=True)]})
    return Image(
        "plain",
        magic,
        signed(text, member, other),
        direct=frozenset({member.name}),
        unused=frozenset({other.name}),
        holds={"slot-b.img": member.data},
    )


def large_image(root: str) -> Image:
    """Large enough for the threads of the pipe; without sums."""
    return replace(plain_image(root, size_bytes=600_001, magic=NEWC), name="large")


def gzip_image(root: str) -> Image:
    """A gzip image, streamed, with its size in the description."""
    plain = half_noise(100_000)
    member = Member("rootfs.img.gz", gzip.compress(plain, mtime=0))
    text = described({
        "images": [
            entry(member, device=f"{root}/slot-b.img", installed_directly=True, compressed="zlib",
                  size=len(member.data))
        ]
    })  # fmt: skip
    return Image("gzip", CRC, signed(text, member), frozenset({member.name}), holds={"slot-b.img": plain})


def zstd_image(root: str) -> Image:
    """A zstd image, staged."""
    plain = half_noise(90_000, 3)
    member = Member("rootfs.img.zst", zstd(plain))
    text = described({"images": [entry(member, device=f"{root}/slot-b.img", compressed="zstd")]})
    return Image("zstd", NEWC, signed(text, member), holds={"slot-b.img": plain})


def encrypted_image(root: str) -> Image:
    """An encrypted gzip image, streamed."""
    plain = half_noise(70_000, 4)
    member = Member("rootfs.img.enc", encrypted(gzip.compress(plain, mtime=0)))
    text = described({
        "images": [
            entry(member, device=f"{root}/slot-b.img", installed_directly=True, compressed="zlib",
                  encrypted="aes-cbc")
        ]
    })  # fmt: skip
    return Image(
        "encrypted",
        CRC,
        signed(text, member),
        frozenset({member.name}),
        holds={"slot-b.img": plain},
        options=("-K", f"{root}/aes.key"),
    )


def files_image(root: str) -> Image:
    """Two files and a script that leaves a note of its phases."""
    one = Member("app.conf", b"colour = green\n" * 20)
    two = Member("app.bin", noise(5_001, 5))
    script = Member("note.sh", f'#!/bin/sh\necho "$1" >> {root}/files/phases\n'.encode())
    text = described(
        {
            "files": [
                entry(one, path=f"{root}/files/app.conf"),
                entry(two, path=f"{root}/files/app.bin"),
            ],
            "scripts": [entry(script, type="shellscript")],
        }
    )
    return Image(
        "files",
        CRC,
        signed(text, one, two, script),
        holds={
            "files/app.conf": one.data,
            "files/app.bin": two.data,
            "files/phases": b"preinst\npostinst\n",
        },
    )


def ab_image(root: str, *, slot: str = "b", plain: bytes | None = None, version: str = "2.0") -> Image:
    """A gzip image for a slot, and the boot environment switched to it."""
    plain = half_noise(60_000, 6) if plain is None else plain
    member = Member("rootfs.img.gz", gzip.compress(plain, 1, mtime=0))
    text = described(
        {
            "images": [
                entry(member, device=f"{root}/slot-{slot}.img", installed_directly=True, compressed="zlib")
            ],
            "bootenv": [f'{{ name = "slot"; value = "{slot}"; }}'],
        },
        version=version,
    )
    return Image(
        "ab",
        CRC,
        signed(text, member),
        frozenset({member.name}),
        holds={f"slot-{slot}.img": plain},
        env={"slot": slot},
    )


MAKERS: dict[str, Callable[[str], Image]] = {
    "plain": plain_image,
    "large": large_image,
    "gzip": gzip_image,
    "zstd": zstd_image,
    "encrypted": encrypted_image,
    "files": files_image,
    "ab": ab_image,
}
