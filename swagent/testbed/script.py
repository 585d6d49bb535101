"""The script of the exercise: ten cycles that end with a banner each (uptane §5.8)."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from swagent.clock import Clock

from .banners import Banner
from .director_side import DirectorSide
from .image_side import ImageSide
from .place import EVIL, FIRMWARE, FRESH, SECONDARY, VIN, Place, Ports, Voice, free_ports
from .primary_side import PrimarySide
from .secondary_side import SecondarySide
from .time_side import TimeSide

BANNERS = (
    Banner.NO_UPDATE, Banner.UPDATED, Banner.DEFENDED, Banner.DEFENDED, Banner.REPLAY, Banner.DEFENDED,
    Banner.COMPROMISED, Banner.UPDATED, Banner.DEFENDED, Banner.NO_UPDATE_NEEDED,
)  # fmt: skip
"""What the script shows, in this order and nothing else."""


class Heard:
    """A ``Voice`` that remembers what it hands on.

    Args:
        voice: who hears it.

    Attributes:
        banners: in the order in which they were shown.
        steps: numbers, likewise.
        lines: party and text, likewise.
    """

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self.banners: list[Banner] = []
        self.steps: list[int] = []
        self.lines: list[tuple[str, str]] = []

    def line(self, party: str, text: str) -> None:
        """A line in the window of a party."""
        self.lines.append((party, text))
        self._voice.line(party, text)

    def banner(self, party: str, banner: Banner) -> None:
        """A word in large letters."""
        self.banners.append(banner)
        self._voice.banner(party, banner)

    def step(self, number: int) -> None:
        """One of the fifteen steps."""
        self.steps.append(number)
        self._voice.step(number)


class Parties(NamedTuple):
    """All five, by the names that the exercise gives them."""

    place: Place
    di: ImageSide
    dd: DirectorSide
    dt: TimeSide
    dp: PrimarySide
    ds: SecondarySide

    def clean_slate(self) -> None:
        """All of them from the beginning, in the order of the exercise."""
        self.di.clean_slate()
        self.dd.clean_slate()
        self.dt.listen()
        self.dp.clean_slate()
        self.ds.clean_slate(primary_port=self.dp.port)

    def round(self) -> None:
        """A cycle of the Primary, then one of the Secondary."""
        self.dp.update_cycle()
        self.ds.update_cycle()

    def deliver(self) -> None:
        """The image of the exercise, from both repositories."""
        self.di.delivering_an_update()
        self.dd.delivering_an_update(SECONDARY)

    def close(self) -> None:
        """Stop everything."""
        for each in (self.ds, self.dp, self.dt, self.dd, self.di):
            each.close()


def parties(place: Place) -> Parties:
    """The five parties of a testbed, not yet started."""
    images = ImageSide(place)
    return Parties(
        place, images, DirectorSide(place, images), TimeSide(place), PrimarySide(place), SecondarySide(place)
    )


@contextmanager
def started(
    dialect: str,
    voice: Voice,
    *,
    folder: str | None = None,
    ports: Ports | None = None,
    seed: int | None = None,
    clock: Clock | None = None,
) -> Iterator[Parties]:
    """All five parties, started; everything is stopped behind the block, and taken away unless a folder is named."""
    with tempfile.TemporaryDirectory(prefix="swagent-testbed-") as temporary:
        place = Place(
            folder or temporary, dialect, voice, ports=ports or free_ports(), seed=seed, clock=clock
        )
        found = parties(place)
        try:
            found.clean_slate()
            yield found
        finally:
            found.close()


def play(found: Parties, title: Callable[[str], None]) -> None:
    """The ten cycles.

    Args:
        found: the parties, started.
        title: hears what comes next.
    """
    di, dd, dp = found.di, found.dd, found.dp
    title("An empty round")
    found.round()
    title("An update is delivered")
    found.deliver()
    found.round()
    title("Attack: the image on the Director's mirror is replaced")
    dd.mitm_arbitrary_package_attack(VIN, FIRMWARE)
    dp.update_cycle()
    dd.undo_mitm_arbitrary_package_attack(VIN, FIRMWARE)
    title("Attack: the image on the Image repository's mirror is replaced")
    di.mitm_arbitrary_package_attack(FIRMWARE)
    dp.update_cycle()
    di.undo_mitm_arbitrary_package_attack(FIRMWARE)
    dd.add_target_and_write_to_live(FIRMWARE, FRESH, VIN, SECONDARY)
    title("Attack: an old timestamp is served")
    dd.backup_timestamp(VIN)
    dp.update_cycle()
    dd.replay_timestamp(VIN)
    dp.update_cycle()
    dd.restore_timestamp(VIN)
    title("Attack: the Director's keys are stolen")
    dd.add_target_and_write_to_live(FIRMWARE, EVIL, VIN, SECONDARY)
    dp.update_cycle()
    title("Attack: the Image repository's keys are stolen too")
    di.add_target_and_write_to_live(FIRMWARE, EVIL)
    found.round()
    title("The keys are revoked, a clean image is delivered")
    dd.revoke_compromised_keys()
    di.revoke_compromised_keys()
    di.add_target_and_write_to_live(FIRMWARE, FRESH)
    dd.add_target_and_write_to_live(FIRMWARE, FRESH, VIN, SECONDARY)
    found.round()
    title("Attack: metadata signed with the revoked keys is served")
    dd.sign_with_compromised_keys_attack()
    dp.update_cycle()
    dd.undo_sign_with_compromised_keys_attack()
    title("Nothing is left to do")
    found.round()
