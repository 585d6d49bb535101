"""What can go wrong with a device or an artifact, handler by handler: the right error, nothing switched, all released.

A handler takes part with a subclass of ``World`` (failures.py) in ``WORLDS``: its fakes, one entry that they can
install, and for each fault of ``FAULTS`` what is expected, or why that fault cannot happen to it (a string). For each
fault a fresh world is made; ``inflict`` breaks it, the entry is installed as an update would do it, and ``check`` looks
at what is left. A world that nothing is inflicted upon must install. Handlers whose faults need more than that have
tests of their own, which ``ELSEWHERE`` names.
"""

import ast
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest

from swagent.errors import DeviceError, HashError, PreflightRefused, SizeError, SwagentError
from swagent.handlers import BUILT_INS
from swagent.model import Artifact, Kind, Phase
from swagent.testing import FakeContext, FakeData, FakeHardware, install, run_script
from tests.programs import PROJECT

from . import disk_worlds, file_worlds, flash_worlds, peer_worlds
from .failures import DATA, FAULTS, SHORT, WRONG, Expected, World


class RawWorld(World):
    handler = "raw"
    expects: ClassVar = {
        "missing": Expected(PreflightRefused, "slot", untouched=True),
        "small": Expected(PreflightRefused, "holds only", untouched=True),
        "read-only": Expected(DeviceError, "cannot open", untouched=True),
        "fails": Expected(DeviceError, "cannot write"),
        "short": Expected(SizeError),
        "hash": Expected(HashError),
    }

    def __init__(self, folder: Path) -> None:
        self.slot = folder / "slot"
        self.slot.write_bytes(b"old")
        self.hw = FakeHardware()
        self.art = Artifact(
            Kind.IMAGE,
            "raw",
            filename="rootfs",
            device=str(self.slot),
            size_bytes=len(DATA),
            installed_directly=True,
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.slot.unlink()
        elif fault == "small":
            self.hw.capacities[str(self.slot)] = len(DATA) - 1
        elif fault == "read-only":
            self.hw.read_only.add(str(self.slot))
        elif fault == "fails":
            self.art = self.art._replace(device="/dev/full")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert {target.state for target in self.hw.targets} <= {"closed" if installed else "abandoned"}
        if untouched and self.slot.exists():
            assert self.slot.read_bytes() == b"old"


class JoinedWorld(RawWorld):
    """Parts that are wrong are tried with whole images: tests/installer/test_joined.py."""

    handler = "joined"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        parts = {
            "parts": ("rootfs",),
            "parts-sha256": (sha256(DATA).hexdigest(),),
            "parts-size": (str(len(DATA)),),
            "chain": ("raw",),
        }
        self.art = self.art._replace(type="joined", properties=parts)


class RawFileWorld(World):
    handler = "rawfile"
    expects: ClassVar = {
        "missing": Expected(DeviceError, "cannot write", untouched=True),
        "small": "a file system tells that it is full when it is",
        "read-only": Expected(DeviceError, "cannot write", untouched=True),
        "fails": "a full file system is tested with a real one",
        "short": Expected(SizeError, untouched=True),
        "hash": Expected(HashError, untouched=True),
    }

    def __init__(self, folder: Path) -> None:
        self.path = folder / "conf"
        self.path.write_bytes(b"old")
        self.hw = FakeHardware()
        self.art = Artifact(
            Kind.FILE,
            "rawfile",
            filename="conf",
            path=str(self.path),
            properties={"atomic-install": ("true",)},
        )

    def inflict(self, fault: str) -> None:
        if fault == "missing":
            self.art = self.art._replace(path=str(self.path.parent / "folder" / "conf"))
        elif fault == "read-only":
            self.art = self.art._replace(path="/proc/conf")

    def check(self, *, installed: bool, untouched: bool) -> None:
        assert os.listdir(self.path.parent) == ["conf"]
        assert self.path.read_bytes() == (DATA if installed else b"old")


WORLDS: tuple[type[World], ...] = (
    RawWorld,
    JoinedWorld,
    RawFileWorld,
    *file_worlds.WORLDS,
    *disk_worlds.WORLDS,
    *flash_worlds.WORLDS,
    *peer_worlds.WORLDS,
)

NO_DATA = "it takes no artifact"
NO_DEVICE = "it has no device"
SCRIPT = {
    "missing": "tests/handlers/test_shell.py::test_wrong_interpreter_has_a_hint",
    "small": "tests/handlers/test_shell.py::test_failure_says_status_and_last_line",
    "read-only": "the script tells, as when there is no room",
    "fails": "tests/handlers/test_shell.py::test_signal",
    "short": "tests/faults/test_damage.py::test_cut_short",
    "hash": "tests/faults/test_damage.py::test_flipped_bits",
}
DOCKER = {
    "missing": "tests/handlers/test_docker.py::test_an_engine_that_is_not_there_is_noticed_beforehand",
    "small": "the engine tells, as whatever else it cannot do",
    "read-only": "the engine tells, as whatever else it cannot do",
    "fails": "tests/handlers/test_docker.py::test_an_action_that_fails",
    "short": NO_DATA,
    "hash": NO_DATA,
}
RDIFF = "tests/handlers/test_rdiff.py::"
DELTA = "tests/handlers/test_delta.py::"
UCFW = "tests/handlers/test_ucfw.py::"

ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "delta": {
        "missing": f"{DELTA}test_a_target_that_is_not_there",
        "small": f"{DELTA}test_a_target_that_is_too_small",
        "read-only": f"{DELTA}test_a_target_that_cannot_be_written",
        "fails": f"{DELTA}test_a_write_that_fails",
        "short": f"{DELTA}test_chunks_that_lie_about_their_size",
        "hash": f"{DELTA}test_chunks_that_are_others",
    },
    "rdiff_image": {
        "missing": f"{RDIFF}test_a_target_that_is_not_there",
        "small": f"{RDIFF}test_a_target_that_is_too_small",
        "read-only": f"{RDIFF}test_a_target_that_cannot_be_written",
        "fails": f"{RDIFF}test_a_target_that_cannot_be_written",
        "short": f"{RDIFF}test_a_bad_delta",
        "hash": f"{RDIFF}test_what_comes_out_must_be_what_was_promised",
    },
    "rdiff_file": {
        "missing": f"{RDIFF}test_a_file_that_is_not_there",
        "small": file_worlds.FULL,
        "read-only": "it writes by rawfile's hands, which are tried above",
        "fails": "it writes by rawfile's hands, which are tried above",
        "short": f"{RDIFF}test_a_bad_delta",
        "hash": f"{RDIFF}test_a_failure_leaves_the_old_file",
    },
    "ucfw": {
        "missing": f"{UCFW}test_what_is_not_there_is_refused_beforehand",
        "small": f"{UCFW}test_a_fault_is_told_and_the_lines_are_released",
        "read-only": f"{UCFW}test_what_is_not_free_may_be_freed_by_a_script_until_it_is_needed",
        "fails": f"{UCFW}test_a_port_that_vanishes",
        "short": f"{UCFW}test_what_is_wrong_with_the_file_is_found_before_the_microcontroller_is_touched",
        "hash": f"{UCFW}test_what_is_wrong_with_the_file_is_found_before_the_microcontroller_is_touched",
    },
    "docker_imageload": {
        **DOCKER,
        "fails": "tests/handlers/test_docker.py::test_an_engine_that_fails",
        "short": "tests/handlers/test_docker.py::test_the_end_is_withheld_until_the_verdict",
        "hash": "tests/handlers/test_docker.py::test_the_end_is_withheld_until_the_verdict",
    },
    **{name: DOCKER for name, _ in BUILT_INS if name.startswith("docker_") and name != "docker_imageload"},
    **dict.fromkeys(("preinstall", "postinstall", "shellscript"), SCRIPT),
    "lua": {
        **SCRIPT,
        "missing": NO_DEVICE,
        "small": NO_DEVICE,
        "read-only": NO_DEVICE,
        "fails": "tests/scripting/test_limits.py::test_a_runaway_is_stopped",
    },
    "dummy": dict.fromkeys(FAULTS, "it writes nothing; what it reads is judged by the installer"),
}
"""Of handlers that have no world: the test of each fault, or why it cannot happen."""


def put(world: World, data: FakeData, folder: Path) -> FakeContext:
    """Install as an update does, up to where the boot environment would be written."""
    ctx = FakeContext(str(folder), hw=world.hw)
    try:
        if world.art.kind is Kind.SCRIPT:
            run_script(world.art, list(Phase), ctx)
        else:
            install(world.art, data, ctx)
        ctx.sync.flush()
    except SwagentError:
        ctx.sync.discard()
        assert ctx.env.staged == {}
        raise
    return ctx


def data_with(fault: str, whole: bytes) -> FakeData:
    if fault == "short":
        return FakeData(whole[: len(whole) // 2], size_bytes=len(whole), verdict=SHORT)
    return FakeData(whole, verdict=WRONG if fault == "hash" else None)


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.handler)
def test_without_a_fault_it_installs(world: type[World], tmp_path: Path) -> None:
    built = world(fresh(tmp_path))
    put(built, data_with("", world.data), tmp_path)
    built.check(installed=True, untouched=False)


@pytest.mark.parametrize(
    ("world", "fault"),
    [
        pytest.param(world, fault, id=f"{world.handler}-{fault}")
        for world in WORLDS
        for fault, expected in world.expects.items()
        if isinstance(expected, Expected)
    ],
)
def test_fault(world: type[World], fault: str, tmp_path: Path) -> None:
    expected = world.expects[fault]
    assert isinstance(expected, Expected)
    built = world(fresh(tmp_path))
    built.inflict(fault)
    before = open_files()
    with pytest.raises(expected.error) as caught:
        put(built, data_with(fault, world.data), tmp_path)
    assert open_files() == before
    assert type(caught.value) is expected.error
    assert expected.text in caught.value.message
    built.check(installed=False, untouched=expected.untouched)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.handler)
def test_every_fault_is_thought_of(world: type[World]) -> None:
    assert set(world.expects) == set(FAULTS)


def test_every_built_in_handler_has_its_faults() -> None:
    code_of = dict(BUILT_INS)
    tried = {code_of[world.handler] for world in WORLDS}
    for handler, code in code_of.items():
        assert (code in tried) is not (handler in ELSEWHERE), handler
    assert ELSEWHERE.keys() <= code_of.keys()


@pytest.mark.parametrize("handler", ELSEWHERE)
def test_what_is_tried_elsewhere_is(handler: str) -> None:
    rows = ELSEWHERE[handler]
    assert set(rows) == set(FAULTS)
    for row in rows.values():
        path, separator, name = row.partition("::")
        if separator:
            tree = ast.parse((PROJECT / path).read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, row


def fresh(folder: Path) -> Path:
    world = folder / "world"
    world.mkdir()
    return world
