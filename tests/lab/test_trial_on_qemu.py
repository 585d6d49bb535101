"""``swagent lab test-update`` with a virtual board that runs a real kernel, U-Boot's environment and swagent."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.programs import PROJECT, run

from .labs import Served
from .trialboard import TrialBoard, hwbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bench() -> object:
    module = hwbench()
    try:
        module.fetch()
    except SystemExit as exc:
        pytest.skip(str(exc))
    return module


@pytest.fixture
def board(bench: object, tmp_path: Path) -> TrialBoard:
    return TrialBoard(tmp_path, bench)  # type: ignore[arg-type]  # a module without a file name of one


@pytest.fixture
def server(board: TrialBoard) -> Iterator[Served]:
    found = Served(board.folder)
    found.start()
    yield found
    found.stop()


def trial(board: TrialBoard, server: Served, image: Path) -> tuple[int, str, ElementTree.Element]:
    """Exit status, what was said, and the report."""
    words = ["lab", "test-update", "gateway", image.name, "--plan", "plan.yaml", "--junit", "report.xml"]
    words += ["--log", "console.log", "--server", server.address, "--token-file", "token"]
    done = run(
        [sys.executable, "-m", "swagent", *words],
        cwd=board.folder,
        env={"PYTHONPATH": str(PROJECT)},
        timeout_s=800,
    )
    report = ElementTree.parse(board.folder / "report.xml").getroot()
    return done.code, done.text, report


def cases(report: ElementTree.Element) -> dict[str, str]:
    """What the report says of each step."""
    found = {}
    for case in report.iter("testcase"):
        failure = case.find("failure")
        what = "skipped" if case.find("skipped") is not None else "passed" if failure is None else "failed"
        found[str(case.get("name"))] = what
    return found


def console(report: ElementTree.Element) -> str:
    (suite,) = report
    said = suite.find("system-out")
    assert said is not None
    return said.text or ""


def test_a_good_image_is_installed_booted_and_confirmed(board: TrialBoard, server: Served) -> None:
    status, text, report = trial(board, server, board.image("2.0"))
    assert status == 0, text
    assert "pass: gateway runs 2.0.swu" in text
    assert cases(report) == dict.fromkeys(
        ("image", "boot", "install", "reboot", "confirm", "version"), "passed"
    )
    said = console(report)
    at = [
        said.index(part)
        for part in ("this is system 1.0", "Installed 2.0", "this is system 2.0", "is CONFIRMED")
    ]
    assert at == sorted(at)
    assert report.get("failures") == "0"


def test_a_broken_image_falls_back_and_fails(board: TrialBoard, server: Served) -> None:
    image = board.image("2.0", system=os.urandom(1 << 20))
    status, text, report = trial(board, server, image)
    assert status == 91, text
    assert "failed: confirm: " in text and "ROLLED_BACK" in text
    assert cases(report) == {
        **dict.fromkeys(("image", "boot", "install", "reboot"), "passed"),
        "confirm": "failed",
        "version": "skipped",
    }
    said = console(report)
    assert "copy b does not start" in said
    assert said.count("this is system 1.0") == 2 and "this is system 2.0" not in said
    assert (board.folder / "console.log").read_bytes().count(b"this is system 1.0") == 2


def test_a_forged_image_is_refused(board: TrialBoard, server: Served) -> None:
    status, text, report = trial(board, server, board.image("2.0", key="other"))
    assert status == 91, text
    assert "failed: install: " in text and "ended with status 20" in text
    assert cases(report)["install"] == "failed" and cases(report)["reboot"] == "skipped"
    assert (board.folder / "slot-b.img").read_bytes() == bytes(4 << 20)
