"""`swagent uptane update --medium`, as it is typed; and the limit of speed."""

import json
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.testing.media import OfflineSimulator, write_medium
from swagent.testing.repositories import RepoSimulator, image_target
from swagent.uptane.metadata import Targets

from .test_uptane_services import gateway, provision, swagent

FIRMWARE = b"carried here"
ECU = ("--state", "gw", "--ecu-serial", "GW1", "--hardware-id", "gateway", "--vin", "VIN1")


@pytest.fixture
def stick(quick_path: Path) -> Path:
    now_s = int(SystemClock().now_s())
    director = OfflineSimulator(seed=1, vin="VIN1", now_s=now_s)
    image = RepoSimulator(seed=2, now_s=now_s)
    target = image_target("gw.img", FIRMWARE, hardware_ids=frozenset(("gateway",)))
    image.targets["gw.img"] = target
    image.publish()
    director.offline["set"] = Targets({"gw.img": target})
    director.publish_offline()
    write_medium(quick_path / "stick", director, image, {"gw.img": FIRMWARE})
    director.write(str(quick_path / "director"))
    image.write(str(quick_path / "images"))
    provision(quick_path, "gw")
    return quick_path


def last(text: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(text.splitlines()[-1])
    return found


def test_it_is_taken_and_told(stick: Path) -> None:
    said = swagent(stick, "update", "--once", *ECU, "--medium", "stick", "--json")
    assert last(said)["result"] == "downloaded"
    assert (stick / "gw" / "targets" / "gw.img").read_bytes() == FIRMWARE
    assert not (stick / "reports").exists(), "the Director is told when the vehicle is online"


def test_what_is_refused_has_its_name(stick: Path) -> None:
    (stick / "stick" / "images" / "gw.img").write_bytes(FIRMWARE[:-1] + b"X")
    said = swagent(stick, "update", "--once", *ECU, "--medium", "stick", "--json", code=62)
    error = last(said)["error"]
    assert isinstance(error, dict)
    assert (error["name"], error["attack"]) == ("TargetHashMismatch", "arbitrary software")


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (("--medium", "nowhere"), 70, "--medium nowhere: No such file"),
        (("--medium", "director"), 70, "it has no folder metadata/director"),
        (
            ("--medium", "stick", "--dialect", "ref-der"),
            2,
            "the dialect ref-der has no updates from a medium",
        ),
        (("--medium", "stick", "--trust-on-first-use"), 2, "whoever made a medium is not to be trusted"),
        ((), 2, "--director is missing"),
    ],
)
def test_mistakes(stick: Path, words: tuple[str, ...], code: int, match: str) -> None:
    assert match in " ".join(swagent(stick, "update", "--once", *ECU, *words, code=code).split())


@pytest.mark.parametrize(("speed", "code"), [("500k", 0), ("10k", 2), ("fast", 70)])
def test_a_limit_of_speed(stick: Path, speed: str, code: int) -> None:
    said = swagent(stick, "update", "--once", *gateway(stick), "--max-download-speed", speed, code=code)
    assert {0: "nothing-to-do", 2: "less than 16384 bytes a second", 70: "must be bytes per second"}[
        code
    ] in " ".join(said.split())
