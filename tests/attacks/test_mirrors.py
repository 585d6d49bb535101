"""Rows 2, 3, 30 and 31: whoever is between the vehicle and its images or repositories."""

from typing import Any

import pytest

from swagent.errors import EndlessDataError, SlowRetrievalError, TransportError
from swagent.uptane.errors import TargetHashMismatch
from swagent.uptane_client.parts import Policy
from tests.uptane_client.world import FIRMWARE, PRIMARY, TCU, Bytes, Mirror, Source, World

from .scenes import attacks_told, honest_again, kept, nothing_installed, refuses, running


class Endless:
    """A stream without an end, which counts what was taken from it."""

    def __init__(self, beginning: bytes = b"") -> None:
        self._beginning = Bytes(beginning)
        self.taken_bytes = 0

    def readinto(self, buffer: memoryview) -> int:
        n = self._beginning.readinto(buffer) or len(buffer)
        self.taken_bytes += n
        return n

    def close(self) -> None:
        pass


class Slow:
    """A stream of one byte every five seconds."""

    def __init__(self, world: World, data: bytes) -> None:
        self._clock = world.clock
        self._data = Bytes(data)

    def readinto(self, buffer: memoryview) -> int:
        self._clock.passes(5)
        return self._data.readinto(buffer[:1])

    def close(self) -> None:
        pass


class OtherMirror(Mirror):
    """A mirror whose streams are of one's own making."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self._make = make

    def open(self, name: str) -> Any:
        return self._make()


def through(world: World, director: Mirror, image: Mirror) -> Any:
    """A Primary that finds images on these two mirrors."""
    return world.primary(director=Source(world.director, director), image=Source(world.image, image))


class TestEndless:
    """Row 2."""

    @pytest.mark.parametrize("beginning", [b"", FIRMWARE])
    def test_on_the_mirror(self, world: World, beginning: bytes) -> None:
        world.order(PRIMARY)
        endless = Endless(beginning)
        mirror = OtherMirror(lambda: endless)
        with nothing_installed(world):
            refuses(through(world, mirror, mirror).cycle, EndlessDataError, TargetHashMismatch)
        stored = [path for path in (world.folder / "files/primary/targets").rglob("*") if path.is_file()]
        assert stored == []
        honest_again(world)

    def test_at_most_one_byte_beyond_is_read(self, world: World) -> None:
        world.order(PRIMARY)
        endless = Endless(FIRMWARE)
        refuses(through(world, OtherMirror(lambda: endless), Mirror()).cycle, EndlessDataError)
        assert endless.taken_bytes == len(FIRMWARE) + 1

    @pytest.mark.parametrize("beginning", [b"", FIRMWARE])
    def test_by_the_primary(self, either: World, beginning: bytes) -> None:
        either.order(TCU)
        either.primary().cycle()
        endless = Endless(beginning)
        either.link.lies["image"] = ("firmware.img", endless)
        with nothing_installed(either):
            refuses(either.secondary().cycle, EndlessDataError, TargetHashMismatch)
        assert endless.taken_bytes <= len(FIRMWARE) + 1
        honest_again(either)


class TestTruncatedAndSlow:
    """Row 3."""

    def test_the_next_mirror_is_asked(self, world: World) -> None:
        world.order(PRIMARY)
        for bad in (lambda: Bytes(FIRMWARE[:-1]), lambda: Slow(world, FIRMWARE)):
            world.installers[PRIMARY].runs = b""
            world.memory.installed(PRIMARY, world.memory.ecus()[PRIMARY].installed._replace(path=""), None)
            through(world, OtherMirror(bad), world.mirror).cycle()
            assert world.installers[PRIMARY].runs == FIRMWARE

    def test_when_all_are_slow_the_next_manifest_tells(self, world: World) -> None:
        slow = OtherMirror(lambda: Slow(world, FIRMWARE))
        world.order(PRIMARY)
        with nothing_installed(world):
            refuses(through(world, slow, slow).cycle, SlowRetrievalError)
        assert "too slowly" in attacks_told(world)
        honest_again(world)

    def test_a_truncated_one_is_told_of_too(self, world: World) -> None:
        short = OtherMirror(lambda: Bytes(FIRMWARE[:-1]))
        world.order(PRIMARY)
        with nothing_installed(world):
            refuses(through(world, short, short).cycle, TargetHashMismatch)
        assert "ends after" in attacks_told(world)
        honest_again(world)


class TestPartialBundle:
    """Row 30: two images are there, the third is withheld."""

    THIRD = "BCUdemocar"

    @pytest.fixture
    def bundle(self, world: World) -> World:
        from tests.uptane_client.world import FACTORY, Installs

        world.memory.add_ecu(self.THIRD, "bcu", FACTORY)
        world.installers[self.THIRD] = Installs()
        world.order(TCU, "tcu.img", b"for the TCU")
        world.order(self.THIRD, "bcu.img", b"for the BCU")
        world.order(PRIMARY, "info.img", b"for the Primary")
        del world.mirror.images["tcu.img"]
        return world

    def test_all_or_none(self, bundle: World) -> None:
        with nothing_installed(bundle):
            refuses(bundle.primary(installers=bundle.installers).cycle, TransportError)
        self.named_in_the_report(bundle)

    def test_each_alone(self, bundle: World) -> None:
        bundle.policy = Policy(all_or_none=False)
        bundle.primary(installers=bundle.installers).cycle()
        self.named_in_the_report(bundle)
        assert running(bundle) == {PRIMARY: b"for the Primary", TCU: b"", self.THIRD: b"for the BCU"}
        bundle.mirror.images["tcu.img"] = b"for the TCU"
        bundle.primary(installers=bundle.installers).cycle()
        assert bundle.installers[TCU].runs == b"for the TCU"

    def named_in_the_report(self, world: World) -> None:
        report = world.codec.decode_vehicle_report(world.service.taken[-1]).content
        assert "tcu.img" in f"{report.installation} {attacks_told(world)}"


class Silent(Source):
    """A repository whose requests are dropped."""

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        raise TransportError("no answer")


class TestDroppedRequests:
    """Row 31."""

    def test_of_the_director(self, world: World) -> None:
        world.order(PRIMARY)
        with kept(world):
            refuses(world.primary(director=Silent(world.director, world.mirror)).cycle, TransportError)
        honest_again(world)

    def test_of_the_image_repository(self, world: World) -> None:
        world.order(PRIMARY)
        with kept(world, "image"):
            refuses(world.primary(image=Silent(world.image, world.mirror)).cycle, TransportError)
        honest_again(world)

    def test_the_report_goes_out_all_the_same(self, world: World) -> None:
        taken = len(world.service.taken)
        refuses(world.primary(director=Silent(world.director, world.mirror)).cycle, TransportError)
        assert len(world.service.taken) == taken + 1
