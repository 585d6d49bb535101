"""Whatever happens to an image on its way: the right refusal, nothing else touched, the boot environment not switched.

The same damage comes from a file and through a pipe. From a file, what the headers or the description give away is
refused before anything is written; so is a damaged member that is not streamed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from .device import OLD_ENV, Device, Outcome
from .images import (
    CRC,
    DESCRIPTION,
    FIELDS,
    IGNORED,
    MAKERS,
    SIGNATURE,
    TRAILER,
    Image,
    Member,
    Region,
    archive,
    regions,
)

SAME = 0
ARCHIVE, DESCRIBED, SIGNED, HASH, DECRYPT, SIZE = 10, 11, 20, 21, 22, 23
HEX = frozenset(b"0123456789abcdefABCDEF")
MARKERS = {"ustate", "recovery_status"}

NAMES = sorted(MAKERS)
WAYS = ["file", "pipe"]


@dataclass(frozen=True)
class Damage:
    """A damaged archive, and which exit codes are right for it.

    Attributes:
        touches: whether the target may have been written to before the damage was found.
    """

    what: str
    raw: bytes
    codes: frozenset[int]
    touches: bool


@cache
def image_for(name: str, root: str) -> Image:
    return MAKERS[name](root)


def check(device: Device, image: Image, damage: Damage, way: str) -> Outcome:
    """Install a damaged archive and hold the outcome against what it must be."""
    device.reset()
    before = device.snapshot()
    outcome = device.install(damage.raw, image, pipe=way == "pipe")
    after = device.snapshot()
    where = f"{image.name}, {way}, {damage.what}: {outcome}"
    assert outcome.code in damage.codes, f"{where}; expected {sorted(damage.codes)}"
    assert "Traceback" not in outcome.stderr, where
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    targets = {f"device/{path}" for path in image.holds}
    env = {name: value for name, value in device.env().items() if name not in MARKERS}
    if outcome.code == SAME:
        for path, content in image.holds.items():
            assert (device.root / path).read_bytes()[: len(content)] == content, where
        assert env == {**OLD_ENV, **image.env}, where
        assert changed <= {*targets, "device/env.bin"}, where
        return outcome
    assert outcome.stderr, where
    assert env == OLD_ENV, where
    if damage.touches:
        # scripts ran after the direct members and before the others; only notes of phases may be left of them
        assert changed <= {*targets, "device/env.bin"}, where
        assert device.env().get("recovery_status") != "in_progress", where
        assert device.env().get("ustate") in (None, "3"), where
    else:
        assert not changed, where
    return outcome


def touched(image: Image, member: str, way: str) -> bool:
    """Whether damage to a member may be found after the target was written to."""
    if way == "pipe":
        return member not in (DESCRIPTION, SIGNATURE)
    return member in image.direct


# -- single bits


def flips(image: Image, region: Region, way: str, at: int, bit: int) -> Damage:
    """One bit flipped in a region, with the codes that are right for it."""
    raw = bytearray(image.raw)
    old = raw[at]
    raw[at] = new = old ^ 1 << bit
    codes = flip_codes(image, region, way, old, new)
    early = region.what in (*FIELDS, "magic", "name") or region.member in (
        DESCRIPTION,
        SIGNATURE,
        TRAILER,
        "",
    )
    touches = touched(image, region.member, way) if way == "pipe" or not early else False
    what = f"bit {bit} of byte {at} ({region.member} {region.what})"
    return Damage(what, bytes(raw), frozenset(codes), touches)


def flip_codes(image: Image, region: Region, way: str, old: int, new: int) -> set[int]:
    member, what = region.member, region.what
    if what == "end" or what == "magic":
        return {ARCHIVE}
    if what in ("name padding", "padding"):
        return {SAME}
    if what in FIELDS:
        if new not in HEX:
            return {ARCHIVE}
        if what in IGNORED or chr(old).lower() == chr(new).lower():
            return {SAME}
        return field_codes(image, member, what, way)
    if what == "name":
        return {ARCHIVE} if old == 0 else name_codes(image, member, new)
    return data_codes(image, member)


def field_codes(image: Image, member: str, what: str, way: str) -> set[int]:
    if what == "check":
        judged = member in (DESCRIPTION, SIGNATURE) or member in image.unused
        return {ARCHIVE} if image.magic == CRC and judged else {SAME}
    if what == "namesize" or member == TRAILER:
        return {ARCHIVE}
    # the size: a few bytes more or less may hide in the padding, then the content is wrong
    if member == DESCRIPTION:
        return {
            ARCHIVE,
            SIGNED,
            DECRYPT,
        }  # with padding or a header in it, it is no text: it could be encrypted
    if member == SIGNATURE:
        return {ARCHIVE, SIGNED}
    if member in image.unused:
        return {ARCHIVE} if image.magic == CRC else {ARCHIVE, SAME}
    return {ARCHIVE, HASH, SIZE}


def name_codes(image: Image, member: str, new: int) -> set[int]:
    if member == SIGNATURE:
        return {SIGNED, ARCHIVE} if new in b"\0/" or new > 127 else {SIGNED}
    if member in image.unused:
        return {ARCHIVE} if new in b"\0/" or new > 127 else {SAME, ARCHIVE}
    return {ARCHIVE}


def data_codes(image: Image, member: str) -> set[int]:
    if member in (DESCRIPTION, SIGNATURE):
        if image.magic == CRC:
            return {ARCHIVE}
        # what is no text any more could be encrypted
        return {SIGNED, DECRYPT} if member == DESCRIPTION else {SIGNED}
    if member in image.unused:
        return {ARCHIVE} if image.magic == CRC else {SAME}
    return {HASH}


def header_flips(image: Image, way: str, dice: random.Random, each: int) -> Iterator[Damage]:
    """``each`` flips in every field of every header."""
    for region in regions(image.members):
        if region.what in (*FIELDS, "magic", "name"):
            for _ in range(each):
                yield flips(image, region, way, dice.randrange(region.start, region.end), dice.randrange(8))


def random_flips(image: Image, way: str, dice: random.Random, count: int) -> Iterator[Damage]:
    """Anywhere; small regions come as often as large ones in every other case."""
    stretches = regions(image.members)
    end = stretches[-1].end
    for index in range(count):
        if index % 2:
            at = dice.randrange(end)
            region = next(region for region in stretches if region.start <= at < region.end)
        else:
            region = dice.choice(stretches)
            at = dice.randrange(region.start, region.end)
        yield flips(image, region, way, at, dice.randrange(8))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_flipped_bits(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    dice = random.Random(f"flips {name} {way}")
    few = list(header_flips(image, way, dice, 1))
    for damage in (*dice.sample(few, 25), *random_flips(image, way, dice, 25)):
        check(shared_device, image, damage, way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_flipped_bits_everywhere(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    dice = random.Random(f"all flips {name} {way}")
    for damage in (*header_flips(image, way, dice, 12), *random_flips(image, way, dice, 200)):
        check(shared_device, image, damage, way)


# -- cut short


def cuts(image: Image, way: str, places: list[int]) -> Iterator[Damage]:
    raw = image.raw
    stretches = regions(image.members)
    complete = stretches[-1].start if stretches[-1].what == "end" else len(raw)
    for at in places:
        region = next((region for region in stretches if region.start <= at < region.end), stretches[-1])
        if at >= complete:
            yield Damage(f"cut behind the end mark at {at}", raw[:at], frozenset({SAME}), touches=True)
            continue
        touches = way == "pipe" and at > _head(image)
        yield Damage(f"cut at {at} ({region.member} {region.what})", raw[:at], frozenset({ARCHIVE}), touches)


def _head(image: Image) -> int:
    """Where the description and its signature end."""
    return max(r.end for r in regions(image.members) if r.member == SIGNATURE)


def boundaries(image: Image) -> list[int]:
    """Where each header, name, data and padding begins and ends, and one byte around it."""
    places = set()
    for region in regions(image.members):
        if region.what in ("magic", "name", "name padding", "data", "padding", "end"):
            places |= {region.start - 1, region.start, region.start + 1, region.end}
    return sorted(at for at in places if at >= 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_cut_short(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    dice = random.Random(f"cuts {name} {way}")
    places = dice.sample(boundaries(image), 25) + [dice.randrange(len(image.raw)) for _ in range(15)]
    for damage in cuts(image, way, places):
        check(shared_device, image, damage, way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_cut_short_everywhere(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    dice = random.Random(f"all cuts {name} {way}")
    places = boundaries(image) + [dice.randrange(len(image.raw)) for _ in range(200)]
    for damage in cuts(image, way, places):
        check(shared_device, image, damage, way)


# -- put together wrongly


def wrong_orders(image: Image, way: str) -> Iterator[Damage]:
    """Members in another order, missing, twice, or with something behind them."""
    description, signature, *others = image.members
    late = way == "pipe"

    def damage(what: str, members: list[Member], code: int, *, touches: bool = False) -> Damage:
        return Damage(what, archive(members, image.magic), frozenset({code}), touches)

    yield damage("signature first", [signature, description, *others], ARCHIVE)
    yield damage("artifact first", [others[0], description, signature, *others[1:]], ARCHIVE)
    yield damage("no signature", [description, *others], SIGNED)
    yield damage("signature last", [description, *others, signature], SIGNED)
    yield damage("nothing", [], ARCHIVE)
    yield damage("only a description", [description], SIGNED)
    used = [member for member in others if member.name not in image.unused]
    for member in used:
        rest = [other for other in others if other != member]
        yield damage(f"{member.name} missing", [description, signature, *rest], ARCHIVE, touches=late)
        doubled = [*others, member]
        yield damage(f"{member.name} twice", [description, signature, *doubled], ARCHIVE, touches=late)
        other = Member(member.name, member.data[::-1])
        yield damage(
            f"another {member.name}", [description, signature, *others, other], ARCHIVE, touches=late
        )
    yield damage("description twice", [description, signature, description, *others], ARCHIVE)
    yield damage("a second one behind", [*image.members, description], ARCHIVE, touches=late)
    yield Damage("trailing garbage", image.raw + b"x", frozenset({ARCHIVE}), late)
    yield Damage("a second archive", image.raw + image.raw, frozenset({ARCHIVE}), late)
    yield Damage("endless zeros", image.raw + bytes(1 << 20), frozenset({ARCHIVE}), late)
    yield Damage(
        "no end mark", archive(image.members, image.magic, trailer=False), frozenset({ARCHIVE}), late
    )
    yield Damage("no archive", b"#!/bin/sh\necho hello\n" * 100, frozenset({ARCHIVE}), touches=False)
    yield Damage("empty", b"", frozenset({ARCHIVE}), touches=False)


def odd_members(image: Image, way: str) -> Iterator[Damage]:
    """One member more: names that leave the folder, names of every length, sizes that are not there."""
    late = way == "pipe"
    good = [("n" * 254, SAME), ("é" * 127, SAME), ("TRAILER", SAME), (" ", SAME), ("-rf", SAME)]
    bad = ["../x", "../../x", "/tmp/x", "/", "a/b", "a/", ".", "..", "", "n" * 255, "n" * 256, "n" * 4000]
    for name, code in (*good, *((name, ARCHIVE) for name in bad)):
        members = [*image.members, Member(name, b"odd")]
        yield Damage(f"a member {name!r:.40}", archive(members, image.magic), frozenset({code}), late)
    for size in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF):
        for index, member in enumerate(image.members):
            members = list(image.members)
            members[index] = Member(member.name, member.data, size=size)
            early = member.name in (DESCRIPTION, SIGNATURE)
            codes = frozenset({ARCHIVE, SIZE})
            yield Damage(
                f"{member.name} claims {size}", archive(members, image.magic), codes, late and not early
            )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["ab", "files", "plain"])
def test_put_together_wrongly(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    for damage in (*wrong_orders(image, way), *odd_members(image, way)):
        check(shared_device, image, damage, way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_all_put_together_wrongly(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    for damage in (*wrong_orders(image, way), *odd_members(image, way)):
        check(shared_device, image, damage, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_the_undamaged_image_installs(shared_device: Device, name: str, way: str) -> None:
    image = image_for(name, str(shared_device.root))
    check(shared_device, image, Damage("none", image.raw, frozenset({SAME}), touches=True), way)
