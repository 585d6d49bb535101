"""Batteries, as a kernel would show them."""

from pathlib import Path

import pytest

from swagent.hw.power import Power, read_power


def supply(root: Path, name: str, **attributes: str) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    for key, value in attributes.items():
        (folder / key).write_text(value + "\n")


def test_no_batteries(tmp_path: Path) -> None:
    assert read_power(str(tmp_path / "missing")) == Power()
    supply(tmp_path, "AC", type="Mains", online="1")
    assert read_power(str(tmp_path)) == Power()


@pytest.mark.parametrize(
    ("status", "online", "discharging"),
    [
        ("Charging", "1", False),
        ("Full", "1", False),
        ("Not charging", "0", False),
        ("Discharging", "0", True),
        ("Discharging", "1", True),  # the charger does not give enough
        ("Unknown", "1", False),
        ("Unknown", "0", True),
        ("", "0", True),
    ],
)
def test_who_discharges(status: str, online: str, discharging: bool, tmp_path: Path) -> None:
    supply(tmp_path, "AC", type="Mains", online=online)
    supply(tmp_path, "BAT0", type="Battery", status=status, capacity="42", present="1")
    assert read_power(str(tmp_path)) == Power("BAT0", 42, discharging)


@pytest.mark.parametrize(
    ("attributes", "percent"),
    [
        ({"capacity": "0"}, 0),
        ({"capacity": "105"}, 100),
        ({"energy_now": "10", "energy_full": "40"}, 25),
        ({"charge_now": "3", "charge_full": "4"}, 75),
        ({"charge_now": "3", "charge_full": "0"}, None),
        ({"capacity": "much"}, None),
        ({}, None),
    ],
)
def test_levels(attributes: dict[str, str], percent: int | None, tmp_path: Path) -> None:
    supply(tmp_path, "BAT0", type="Battery", status="Discharging", **attributes)
    assert read_power(str(tmp_path)) == Power("BAT0", percent, True)


def test_of_two_batteries_the_fuller_counts(tmp_path: Path) -> None:
    supply(tmp_path, "BAT0", type="Battery", status="Discharging", capacity="3")
    supply(tmp_path, "BAT1", type="Battery", status="Not charging", capacity="80")
    assert read_power(str(tmp_path)) == Power("BAT1", 80, True)


def test_batteries_of_other_things_do_not_count(tmp_path: Path) -> None:
    supply(tmp_path, "mouse", type="Battery", scope="Device", status="Discharging", capacity="3")
    supply(tmp_path, "bay", type="Battery", present="0", status="Unknown")
    assert read_power(str(tmp_path)) == Power()
