"""Row 35: images that are encrypted for one ECU, and what can be wrong with them."""

from collections.abc import Callable
from typing import Any

import pytest

from swagent.crypto.imagekey import ImageKey, load_image_key, wrap
from swagent.errors import EndlessDataError, SettingsError
from swagent.testing.repositories import encrypted_target, image_target
from swagent.uptane.errors import TargetHashMismatch
from swagent.uptane_client.encrypted import opened
from tests.conftest import KeyRing
from tests.uptane_client.world import FIRMWARE, PRIMARY, TCU, Bytes, World

from .scenes import attacks_told, nothing_installed, refuses

AES = bytes(range(32))
IMAGES = {"firmware.img": TCU, "info.img": PRIMARY}
LONG = FIRMWARE * 2_000


def order_encrypted(world: World, key: bytes = AES, wrapped: bytes = b"", data: bytes = FIRMWARE) -> None:
    """Both ECUs get an image that travels encrypted; the mirror has no other form of it."""
    for path, serial in IMAGES.items():
        world.order(serial, path, data)
        del world.mirror.images[path]
        sealed, raw = encrypted_target(world.director.targets[path], data, key, wrapped)
        world.director.targets[path] = sealed
        world.mirror.images[f"{path}.enc"] = raw
    world.publish()


def cycles(world: World, key: ImageKey) -> tuple[Callable[[], object], Callable[[], object]]:
    return world.primary(image_keys={PRIMARY: key}).cycle, world.secondary(image_key=key).cycle


def test_the_ecus_own_key(either: World) -> None:
    order_encrypted(either, data=LONG)
    for cycle in cycles(either, ImageKey(aes=AES)):
        cycle()
    assert {serial: ecu.runs for serial, ecu in either.installers.items()} == {PRIMARY: LONG, TCU: LONG}
    assert not any(ecu.verified for ecu in either.installers.values()), (
        "the plain bytes were judged by nobody yet"
    )
    either.secondary(image_key=ImageKey(aes=AES)).cycle()
    assert either.secondary(image_key=ImageKey(aes=AES)).cycle() == "no-update-needed"


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_wrapped_key(world: World, key_ring: KeyRing, size: int) -> None:
    key = load_image_key(str(key_ring.key))
    order_encrypted(world, AES[:size], wrap(key_ring.public.read_text(), AES[:size]))
    for cycle in cycles(world, key):
        cycle()
    assert {serial: ecu.runs for serial, ecu in world.installers.items()} == {
        PRIMARY: FIRMWARE,
        TCU: FIRMWARE,
    }


def test_plain_bytes_are_nowhere_but_at_their_ecu(world: World) -> None:
    order_encrypted(world, data=LONG)
    for cycle in cycles(world, ImageKey(aes=AES)):
        cycle()
    stored = {path.name: path.read_bytes() for path in world.folder.rglob("*") if path.is_file()}
    assert stored["info.img.enc"] == world.mirror.images["info.img.enc"]
    assert stored["firmware.img.enc"] == world.mirror.images["firmware.img.enc"]
    assert [name for name, raw in stored.items() if FIRMWARE in raw] == []


class TestLies:
    """Whatever is wrong, nothing is installed, the report tells, and the right image arrives behind it."""

    def afterwards(self, world: World, key: ImageKey) -> None:
        assert attacks_told(world)
        world.link.lies.clear()
        order_encrypted(world, data=b"the next one")
        for cycle in cycles(world, ImageKey(aes=AES)):
            cycle()
        assert world.installers[TCU].runs == world.installers[PRIMARY].runs == b"the next one"

    def refused(self, world: World, key: ImageKey, *errors: Any, text: str = "") -> None:
        primary, secondary = cycles(world, key)
        with nothing_installed(world):
            for cycle in (primary, secondary):
                found = refuses(cycle, *(errors or (TargetHashMismatch,)))
                assert text in found.message
        world.primary().report()
        self.afterwards(world, key)

    def test_wrong_key(self, world: World) -> None:
        order_encrypted(world, data=LONG)
        self.refused(world, ImageKey(aes=bytes(32)))

    def test_wrong_key_of_another_kind(self, world: World, key_ring: KeyRing) -> None:
        order_encrypted(world)
        self.refused(world, load_image_key(str(key_ring.key)), text="is RSA")

    def test_wrapped_for_another_ecu(self, world: World, key_ring: KeyRing) -> None:
        order_encrypted(world, AES, wrap(key_ring.stranger_public.read_text(), AES))
        self.refused(world, load_image_key(str(key_ring.key)), text="not wrapped for this ECU")

    def test_wrapped_key_of_another_length(self, world: World, key_ring: KeyRing) -> None:
        order_encrypted(world, AES, wrap(key_ring.public.read_text(), AES[:16]))
        self.refused(world, load_image_key(str(key_ring.key)), text="another length")

    @pytest.mark.parametrize(
        "damage",
        [
            lambda raw: raw[:-1],
            lambda raw: raw[:16],
            lambda raw: b"",
            lambda raw: raw + b"!",
            lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
            lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        ],
        ids=["cut", "vector alone", "empty", "longer", "vector", "last byte"],
    )
    def test_damaged_on_the_mirror(self, world: World, damage: Callable[[bytes], bytes]) -> None:
        order_encrypted(world)
        for path in IMAGES:
            world.mirror.images[f"{path}.enc"] = damage(world.mirror.images[f"{path}.enc"])
        self.refused(world, ImageKey(aes=AES), TargetHashMismatch, EndlessDataError)

    def test_damaged_by_the_primary(self, either: World) -> None:
        """What the Secondary gets decrypts to the right image, and is not the form that was signed all the same."""
        order_encrypted(either)
        either.primary(image_keys={PRIMARY: ImageKey(aes=AES)}).cycle()
        sealed = either.director.targets["firmware.img"]._replace(path="other vector", encrypted=None)
        _, other = encrypted_target(sealed, FIRMWARE, AES)
        either.link.lies["image"] = ("firmware.img.enc", Bytes(other))
        with nothing_installed(either):
            refuses(either.secondary(image_key=ImageKey(aes=AES)).cycle, TargetHashMismatch)

    def test_the_plain_image_instead(self, either: World) -> None:
        order_encrypted(either)
        either.primary(image_keys={PRIMARY: ImageKey(aes=AES)}).cycle()
        either.link.lies["image"] = ("firmware.img", Bytes(FIRMWARE))
        with nothing_installed(either):
            refuses(either.secondary(image_key=ImageKey(aes=AES)).cycle, TargetHashMismatch)

    def test_another_image_inside(self, world: World) -> None:
        """The Director encrypts something that the Image repository never signed."""
        order_encrypted(world)
        for path in IMAGES:
            honest = world.director.targets[path]
            sealed, raw = encrypted_target(honest._replace(encrypted=None), FIRMWARE[::-1], AES)
            world.director.targets[path] = sealed
            world.mirror.images[f"{path}.enc"] = raw
        world.publish()
        self.refused(world, ImageKey(aes=AES), text="another")

    @pytest.mark.parametrize("what", ["padding", "no whole block", "vector alone"])
    def test_padding_and_shape(self, world: World, what: str) -> None:
        """Signed by the Director, and no cipher text."""
        order_encrypted(world)
        for path in IMAGES:
            honest = world.director.targets[path]
            raw = world.mirror.images[f"{path}.enc"]
            if what == "padding":  # the plain text is right, what stands behind it is not
                raw = padded_wrongly(FIRMWARE)
            raw = {"no whole block": raw[:-3], "vector alone": raw[:16]}.get(what, raw)
            facts = image_target(f"{path}.enc", raw)
            assert honest.encrypted is not None
            form = honest.encrypted._replace(length_bytes=len(raw), hashes=facts.hashes)
            world.director.targets[path] = honest._replace(encrypted=form)
            world.mirror.images[f"{path}.enc"] = raw
        world.publish()
        self.refused(world, ImageKey(aes=AES), text="" if what == "vector alone" else "decrypt")

    def test_no_key(self, world: World) -> None:
        order_encrypted(world)
        with nothing_installed(world):
            refuses(world.primary().cycle, SettingsError)
            refuses(world.secondary().cycle, SettingsError)


def padded_wrongly(data: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    padding = 16 - len(data) % 16
    cipher = Cipher(algorithms.AES(AES), CBC(bytes(16))).encryptor()
    return bytes(16) + cipher.update(data + bytes([0] * (padding - 1) + [padding]))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 256 * 1024 - 16, 256 * 1024, 700_001])
def test_any_length_by_any_buffer(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    target, sealed = encrypted_target(image_target("x.img", data), data, AES)
    source = opened(Bytes(sealed), target, ImageKey(aes=AES))
    buffer, found = memoryview(bytearray(100_003)), b""
    while n := source.readinto(buffer):
        found += buffer[:n]
    assert found == data


def test_key_files(tmp_path: Any, key_ring: KeyRing) -> None:
    path = tmp_path / "image.key"
    path.write_text(AES.hex() + "\n")
    path.chmod(0o600)
    assert load_image_key(str(path)).content_key("", b"") == AES
    assert "ImageKey(...)" in repr(load_image_key(str(path)))
    for text in ("", "00", AES.hex()[:-1], "zz" * 32, AES.hex() * 2):
        path.write_text(text)
        with pytest.raises(SettingsError) as caught:
            load_image_key(str(path))
        assert AES.hex()[:8] not in caught.value.message
    with pytest.raises(SettingsError, match="EC key"):
        load_image_key(str(key_ring.ec_key))
