"""Golden cases with raw flash and UBI: ``mtd``, ``mtd-after``, ``ubi``, ``ubi-after`` (tests/cases/README.md)."""

from collections.abc import Callable
from typing import Any

from swagent.hw.mtd import NAND, NOR
from swagent.testing import FakeFlash, FakeHardware, FakeUbi

KEYS = ("mtd", "mtd-after", "ubi", "ubi-after")
Content = Callable[[Any], bytes]
"""The bytes that a node of a case stands for."""


def device(case: dict[str, Any], content: Content) -> FakeHardware | None:
    """A device with the flash that a case speaks of, None when it speaks of none."""
    if "mtd" not in case and "ubi" not in case:
        return None
    flashes, names = {}, {}
    for word, facts in case.get("mtd", {}).items():
        kind = {"nand": NAND, "nor": NOR}[facts.get("kind", "nand")]
        flash = FakeFlash(kind, blocks=facts.get("blocks", 8), bad=facts.get("bad", ()))
        flash.weak, flash.worn = facts.get("weak", ()), facts.get("worn", ())
        held = content(facts.get("holds", ""))
        flash.content[: len(held)] = held
        flashes[int(word.removeprefix("mtd"))] = flash
        names[facts.get("name", word)] = int(word.removeprefix("mtd"))
    ubi = FakeUbi(attached="ubi" in case, lebs=case.get("ubi", {}).get("lebs", 16))
    flashes.setdefault(ubi.mtd, FakeFlash())
    for name, facts in case.get("ubi", {}).get("volumes", {}).items():
        held = content(facts.get("holds", ""))
        ubi.put(name, held, lebs=facts.get("lebs", 0), static=facts.get("static", False))
    return FakeHardware(flashes=flashes, mtd_names=names, ubi=ubi)


def check(hw: FakeHardware, case: dict[str, Any], content: Content) -> None:
    """The flash is as the case says, and nothing is left open."""
    after = case.get("mtd-after", {})
    for word, facts in case.get("mtd", {}).items():
        flash = hw.flashes[int(word.removeprefix("mtd"))]
        wanted = after.get(word, facts)
        assert bytes(flash.content).rstrip(b"\xff") == content(wanted.get("holds", "")).rstrip(b"\xff")
        assert flash.bad == set(wanted.get("bad", facts.get("bad", ())))
    assert {flash.opened for flash in hw.flashes.values()} == {0}
    if "ubi" in case:
        volumes = case.get("ubi-after", case["ubi"].get("volumes", {}))
        assert list(hw.ubi.names()) == list(volumes), "names in the order of ids"
        for name, wanted in volumes.items():
            facts = hw.ubi.facts(name)
            assert hw.ubi.holds(name) == content(wanted.get("holds", "")), name
            assert facts.lebs == wanted.get("lebs", facts.lebs), name
            assert facts.static == wanted.get("static", False), name
            assert facts.interrupted == wanted.get("interrupted", False), name
        assert hw.ubi.opened == 0
