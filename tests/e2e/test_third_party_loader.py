"""A boot loader of another package, found by its entry point, through a whole update: installed, booted, confirmed."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.faults.images import ab_image
from tests.programs import PROJECT, Done, run_swagent

CODE = '''
"""Keeps boot variables in a JSON file."""
import json, os

from swagent.errors import BootEnvError

class Loader:
    name = "acme"

    def __init__(self, settings):
        self._path = os.environ["ACME_ENV"]

    def all(self):
        with open(self._path) as file:
            return json.load(file)

    def get(self, name):
        return self.all().get(name)

    def check(self, changes):
        if "forbidden" in changes:
            raise BootEnvError("acme does not like that")

    def set_many(self, changes):
        variables = self.all() | dict(changes)
        with open(self._path + ".new", "w") as file:
            json.dump({name: value for name, value in variables.items() if value}, file)
        os.rename(self._path + ".new", self._path)
'''


class Unit:
    """A device with two slots, and the package ``acme`` on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        info = self.site / "acme-1.2.dist-info"
        info.mkdir(parents=True)
        (self.site / "acme.py").write_text(CODE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("[swagent.bootloaders]\nacme = acme:Loader\n")
        self.env = folder / "env.json"
        self.env.write_text('{"slot": "a"}')
        (folder / "slot-b.img").write_bytes(b"old" * 1000)
        (folder / "update.swu").write_bytes(ab_image(str(folder)).raw)

    def swagent(self, *words: str) -> Done:
        paths = os.pathsep.join((str(PROJECT), str(self.site)))
        state = str(self.folder / "state")
        return run_swagent(
            words, self.folder, PYTHONPATH=paths, ACME_ENV=str(self.env), STATE_DIRECTORY=state
        )

    def stored(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.env.read_text())
        return found


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


INSTALL = ("-i", "update.swu", "--allow-unsigned", "-H", "board:1.0", "-B", "acme")


def test_a_whole_update(unit: Unit) -> None:
    done = unit.swagent(*INSTALL)
    assert done.ok, done.text
    assert unit.stored() == {"slot": "b", "ustate": "1"}
    journal = unit.folder / "state" / "journal.json"
    journal.write_text(re.sub('"boot_id": "[^"]*"', '"boot_id": "before"', journal.read_text()))
    (unit.folder / "checks").mkdir()
    assert unit.swagent("confirm", "--dir", "checks", "-B", "acme").ok
    assert unit.stored() == {"slot": "b", "ustate": "0"}
    assert unit.swagent(*INSTALL).ok
    journal.write_text(re.sub('"boot_id": "[^"]*"', '"boot_id": "before"', journal.read_text()))
    again = unit.swagent(*INSTALL)
    assert (again.code, "has not been confirmed" in again.text) == (34, True)


def test_what_it_could_not_store_is_refused_beforehand(unit: Unit) -> None:
    code = (unit.site / "acme.py").read_text().replace('"forbidden"', '"slot"')
    (unit.site / "acme.py").write_text(code)
    done = unit.swagent(*INSTALL)
    assert done.code == 45
    assert "acme does not like that" in done.text
    assert unit.stored() == {"slot": "a"}
    assert (unit.folder / "slot-b.img").read_bytes() == b"old" * 1000


def test_one_that_cannot_be_loaded(unit: Unit) -> None:
    (unit.site / "acme.py").write_text("import not_there_at_all\n")
    done = unit.swagent(*INSTALL)
    assert done.code == 71
    assert "package acme 1.2" in " ".join(done.text.split())


def test_an_unknown_name_lists_it(unit: Unit) -> None:
    done = unit.swagent(*INSTALL[:-1], "acne")
    assert done.code == 2
    assert "known are acme, ebg, grub, none, uboot" in " ".join(done.text.split())
