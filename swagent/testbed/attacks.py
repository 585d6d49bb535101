"""The attacks that a vehicle and its back office must withstand, each played on a whole testbed (uptane §7)."""

from collections.abc import Callable
from typing import NamedTuple

from swagent.errors import SwagentError

from .banners import Banner
from .bench import Bench, Noticed, ShiftedClock
from .place import Voice
from .script import Heard, started

HARMLESS, INSTALLED = "nothing happens", "installed"
EVERYTHING, IMAGES, NOTHING = "metadata and images", "images", "nothing"


class Attack(NamedTuple):
    """One row.

    Attributes:
        number: of the row.
        name: as it is typed.
        text: what is done.
        by: who must notice: parties, ``HARMLESS`` where nothing must happen, ``INSTALLED`` where nobody can notice.
        play: does it, and undoes it.
        keeps: what is afterwards what it was, byte for byte: what ECUs trust and run, what they run, or nothing.
    """

    number: int
    name: str
    text: str
    by: tuple[str, ...]
    play: Callable[[Bench], None]
    keeps: str = EVERYTHING


class Verdict(NamedTuple):
    """What an attack came to.

    Attributes:
        noticed: who refused what.
        kept: whether what must stay as it was did.
        recovered: whether the honest round behind it installed its image.
        good: whether all of it is as it must be.
    """

    attack: Attack
    noticed: tuple[Noticed, ...]
    kept: bool
    recovered: bool
    good: bool


def perform(attack: Attack, dialect: str, voice: Voice) -> Verdict:
    """Play an attack between two honest rounds.

    Raises:
        SwagentError: the testbed cannot be started.
    """
    heard, clock = Heard(voice), ShiftedClock()
    with started(dialect, heard, clock=clock) as parties:
        bench = Bench(parties, heard, clock)
        parties.deliver()
        parties.round()
        parties.dp.update_cycle()
        voice.line("attacker", f"-- {attack.text}")
        bench.mark()
        attack.play(bench)
        bench.undo()
        parties.dp.lies.clear()
        kept = _kept(attack, bench)
        banners = bench.alarms()
        noticed = tuple(bench.noticed)
        voice.line("attacker", "-- an honest round")
        recovered = _recovers(bench)
    return Verdict(attack, noticed, kept, recovered, recovered and _as_due(attack, noticed, kept, banners))


def _kept(attack: Attack, bench: Bench) -> bool:
    now = bench.kept()
    return attack.keeps == NOTHING or (
        now["runs"] == bench.before["runs"] and (attack.keeps == IMAGES or now == bench.before)
    )


def _recovers(bench: Bench) -> bool:
    try:
        data = bench.order()
    except SwagentError as exc:
        bench.heard.line("attacker", f"-- no honest image can be ordered: {exc.message}")
        return False
    bench.parties.ds.submit_ecu_manifest_to_primary()
    bench.parties.round()
    return bench.parties.ds.runs() == data


def _as_due(attack: Attack, noticed: tuple[Noticed, ...], kept: bool, banners: list[Banner]) -> bool:
    if attack.by == (INSTALLED,):
        return Banner.COMPROMISED in banners
    if Banner.COMPROMISED in banners or not kept:
        return False
    if attack.by == (HARMLESS,):
        return not noticed
    return set(attack.by) <= {each.party for each in noticed}


def find(name: str) -> Attack | None:
    """The attack of this name or number, None when there is none."""
    from .attack_rows import ROWS

    return next((row for row in ROWS if name in (row.name, str(row.number))), None)
