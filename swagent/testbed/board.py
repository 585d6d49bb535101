"""``swagent testbed up``: all five windows on one screen, with the fifteen steps that light up as they are taken."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from swagent.errors import SwagentError

from .banners import COLOURS, Banner, large
from .place import (
    DIRECTOR,
    EVIL,
    FIRMWARE,
    FRESH,
    IMAGE_REPO,
    PARTIES,
    PRIMARY_WINDOW,
    SECONDARY,
    SECONDARY_WINDOW,
    TIME_SERVER,
    VIN,
)
from .script import Parties

STEPS = 15
LINES_KEPT = 200
HEADS: Mapping[str, str] = {
    IMAGE_REPO: "Image repository", DIRECTOR: "Director", TIME_SERVER: "Time server",
    PRIMARY_WINDOW: "Primary INFOdemocar", SECONDARY_WINDOW: "Secondary TCUdemocar",
}  # fmt: skip
KEYS = "u deliver an update   p Primary   s Secondary   a attack   r recover   q quit"


class Screen:
    """A ``Voice`` that draws what is said.

    Args:
        draw: gets the whole text of the screen; called from several threads, one at a time.
        size: columns and lines, asked before each drawing.
        clean: makes text from outside harmless to a terminal.
        colour: whether to colour.
    """

    def __init__(
        self,
        draw: Callable[[str], None],
        size: Callable[[], tuple[int, int]],
        clean: Callable[[str], str],
        *,
        colour: bool,
    ) -> None:
        self._draw = draw
        self._size = size
        self._clean = clean
        self._colour = colour
        self._lock = threading.Lock()
        self._lines: dict[str, deque[str]] = {party: deque(maxlen=LINES_KEPT) for party in PARTIES}
        self._taken: set[int] = set()
        self._banner: Banner | None = None
        self._foot = KEYS

    def line(self, party: str, text: str) -> None:
        """A line in the window of a party."""
        with self._lock:
            self._lines[party].append(self._clean(text))
            self._show()

    def banner(self, party: str, banner: Banner) -> None:
        """A word in large letters."""
        with self._lock:
            self._banner = banner
            self._lines[party].append(f"** {banner} **")
            self._show()

    def step(self, number: int) -> None:
        """The strip lights up; with the first step it begins anew."""
        with self._lock:
            if number == 1:
                self._taken.clear()
                self._banner = None
            self._taken.add(number)
            self._show()

    def foot(self, text: str) -> None:
        """What can be done now, in the last line."""
        with self._lock:
            self._foot = text
            self._show()

    def _show(self) -> None:
        self._draw("\n".join(self._rows(*self._size())))

    def _rows(self, columns: int, lines: int) -> list[str]:
        strip = "".join(self._lit(number) for number in range(1, STEPS + 1))
        top = ["testbed  " + strip]
        if self._banner is not None and lines >= 34 and columns >= 7 * len(self._banner):
            top += ["", *large(self._banner, colour=self._colour).splitlines(), ""]
        elif self._banner is not None:
            top.append(self._in_colour(f"   {self._banner}", COLOURS[self._banner]))
        else:
            top.append("")
        each = max(2, (lines - len(top) - 1) // len(PARTIES))
        rows = top
        for party in PARTIES:
            rows.append(self._in_colour(f"-- {HEADS[party]} ".ljust(columns, "-")[:columns], "1"))
            last = list(self._lines[party])[-(each - 1) :]
            rows += [text[:columns] for text in last] + [""] * (each - 1 - len(last))
        return [*rows[: lines - 1], self._foot[:columns]]

    def _lit(self, number: int) -> str:
        if number not in self._taken:
            return f" {number:>2} "
        return self._in_colour(f"[{number:>2}]", "32")

    def _in_colour(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


class Assault(NamedTuple):
    """An attack that stays until it is undone."""

    text: str
    begin: Callable[[Parties], None]
    undo: Callable[[Parties], None]


def _begin_replay(found: Parties) -> None:
    found.dd.backup_timestamp(VIN)
    found.dp.update_cycle()
    found.dd.replay_timestamp(VIN)


def _begin_both(found: Parties) -> None:
    found.dd.add_target_and_write_to_live(FIRMWARE, EVIL, VIN, SECONDARY)
    found.di.keyed_arbitrary_package_attack(FIRMWARE)


def _undo_both(found: Parties) -> None:
    found.dd.undo_keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE)
    found.di.undo_keyed_arbitrary_package_attack(FIRMWARE)


def _undo_image_mirror(found: Parties) -> None:
    found.di.undo_mitm_arbitrary_package_attack(FIRMWARE)
    found.dd.add_target_and_write_to_live(FIRMWARE, FRESH, VIN, SECONDARY)


def _begin_revoked(found: Parties) -> None:
    found.dd.revoke_compromised_keys()
    found.dp.update_cycle()
    found.dd.sign_with_compromised_keys_attack()


ASSAULTS: tuple[Assault, ...] = (
    Assault(
        "forged image on the Director's mirror",
        lambda found: found.dd.mitm_arbitrary_package_attack(VIN, FIRMWARE),
        lambda found: found.dd.undo_mitm_arbitrary_package_attack(VIN, FIRMWARE),
    ),
    Assault(
        "forged image on the Image repository's mirror",
        lambda found: found.di.mitm_arbitrary_package_attack(FIRMWARE),
        _undo_image_mirror,
    ),
    Assault("old timestamp", _begin_replay, lambda found: found.dd.restore_timestamp(VIN)),
    Assault(
        "the Director's keys",
        lambda found: found.dd.keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE),
        lambda found: found.dd.undo_keyed_arbitrary_package_attack(VIN, SECONDARY, FIRMWARE),
    ),
    Assault("the keys of both repositories", _begin_both, _undo_both),
    Assault("revoked keys", _begin_revoked, lambda found: found.dd.undo_sign_with_compromised_keys_attack()),
)


class Board:
    """Does what keys ask for.

    Args:
        parties: started.
        foot: hears what can be done now, or why something cannot.
    """

    def __init__(self, parties: Parties, foot: Callable[[str], None]) -> None:
        self._parties = parties
        self._foot = foot
        self._under_way: Assault | None = None
        self._choosing = False

    def press(self, key: str) -> bool:
        """Do what a key stands for; returns False when it ends the board."""
        if self._choosing:
            self._choosing = False
            self._choose(key)
            return True
        if key == "q":
            return False
        actions: Mapping[str, Callable[[], None]] = {
            "u": self._parties.deliver,
            "p": self._parties.dp.update_cycle,
            "s": self._parties.ds.update_cycle,
            "a": self._ask,
            "r": self._recover,
        }
        action = actions.get(key)
        if action is not None:
            self._do(action)
        return True

    def _ask(self) -> None:
        if self._under_way is not None:
            self._foot(f"under way: {self._under_way.text}; r recovers")
            return
        self._choosing = True
        self._foot("   ".join(f"{number} {each.text}" for number, each in enumerate(ASSAULTS, 1)))

    def _choose(self, key: str) -> None:
        if not key.isdigit() or not 1 <= int(key) <= len(ASSAULTS):
            self._foot(KEYS)
            return
        chosen = ASSAULTS[int(key) - 1]

        def begin() -> None:
            chosen.begin(self._parties)
            self._under_way = chosen

        self._do(begin)

    def _recover(self) -> None:
        if self._under_way is None:
            self._foot(f"no attack is under way.   {KEYS}")
            return
        undo, self._under_way = self._under_way.undo, None
        undo(self._parties)

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except SwagentError as exc:
            self._foot(f"refused: {exc.message}   {KEYS}")
            return
        if action not in (self._ask, self._recover):
            self._foot(KEYS)
