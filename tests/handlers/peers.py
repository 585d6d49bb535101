"""Programs and devices that golden cases talk to: key ``peer`` of tests/cases."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swagent.testing import FakeEngine, FakeHardware, Fault, Microcontroller
from tests.programs import need


class Met(NamedTuple):
    """A peer that is there.

    Attributes:
        name: how an entry reaches it.
        sent: what came to it, a line for each message.
        hw: the hardware that it is part of; None for the real one.
    """

    name: str
    sent: list[str]
    hw: FakeHardware | None = None


@contextmanager
def peer(spec: dict[str, Any] | None, tmpdir: Path) -> Iterator[Met]:
    """What ``spec`` describes, if anything; its ``sent`` is complete when the block is left."""
    if spec is None:
        yield Met("", [])
        return
    kinds = {
        "remote": _program,
        "device": _device,
        "microcontroller": _microcontroller,
        "disk": _loop_device,
        "engine": _engine,
    }
    with kinds[spec["kind"]](spec, tmpdir) as met:
        yield met


@contextmanager
def _program(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    pytest.importorskip("zmq")
    from tests.remote.peer import listening

    answers = [answer.encode() for answer in spec["answers"]]
    met = Met("program", [])
    with listening(str(tmpdir / met.name), lambda number, _: [answers[number]]) as program:
        yield met
    met.sent.extend(f"{frames[0].decode()} + {len(frames[1])} bytes" for frames in program.requests)


@contextmanager
def _device(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    pytest.importorskip("websockets")
    from tests.net.panel import Panel

    class Device(Panel):
        def install(self) -> None:
            for line in spec.get("says", []):
                self.say(6 if spec["ends"] == "SUCCESS" else 3, line)
            self.tell(spec["ends"])

    with Device() as device:
        met = Met(device.url, [])
        yield met
    met.sent.extend(head.partition(b" HTTP/")[0].decode() for head in device.heads)
    if device.complete:
        met.sent.append(device.received.decode())


@contextmanager
def _microcontroller(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    faults = [fault and Fault(*fault) for fault in spec["faults"]]
    with Microcontroller(*faults) as mcu:
        met = Met(mcu.device, [], FakeHardware())
        yield met
    met.sent.extend(f"$PROG at {baudrate} bit/s" for baudrate in mcu.attempts)
    met.sent.extend((mcu.firmware or b"").decode().splitlines())


@contextmanager
def _loop_device(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a loop device")
    need("losetup", "partx", "sfdisk", "blkid", "mkfs.vfat", "mkfs.ext4", "btrfs")
    image = tmpdir.parent / "disk.img"
    with open(image, "wb") as file:
        file.truncate(int(spec["bytes"]))
    if "table" in spec:
        run(["sfdisk", "--quiet", str(image)], "\n".join(spec["table"]))
    for command in spec.get("run", ()):
        run([*command, str(image)])
    try:
        name = run(["losetup", "--find", "--show", "--partscan", str(image)]).strip()
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"needs a loop device: {exc.stderr.strip()}")
    met = Met(name, [])
    # not every kernel knows every kind of table by itself
    subprocess.run(["partx", "--update", name], capture_output=True, check=False)
    try:
        yield met
    finally:
        run(["losetup", "--detach", name])
    met.sent.extend(contents(image))


def contents(image: Path) -> list[str]:
    """A disk image in lines: its partitions as sfdisk sees them, without their UUIDs; file systems as blkid does."""
    lines, places = [], [("disk", 0)]
    dump = subprocess.run(["sfdisk", "--dump", image], capture_output=True, text=True, check=False).stdout
    for line in (
        dump.splitlines() if " : start=" in dump else ()
    ):  # sfdisk takes a FAT's boot sector for a table
        if line.startswith("label: "):
            lines.append(line)
        elif " : start=" in line:
            number, fields = line.removeprefix(str(image)).split(" : ")
            given = [" ".join(field.split()) for field in fields.split(",")]
            lines.append(f"{number}: " + ", ".join(field for field in given if "uuid=" not in field))
            places.append((number, 512 * int(given[0].removeprefix("start= "))))
    for name, at in places:
        words = ["blkid", "-p", "-u", "filesystem", "-s", "TYPE", "-s", "LABEL", "-O", str(at), str(image)]
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        if "=" in told:
            lines.append(f"{name}:{told.partition(':')[2].rstrip()}")
    return lines


def run(argv: list[str], stdin: str = "") -> str:
    """A program's output; it has to succeed."""
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout


@contextmanager
def _engine(spec: dict[str, Any], tmpdir: Path) -> Iterator[Met]:
    path = str(tmpdir / "docker.sock")
    with FakeEngine(path, fault=spec.get("fault", ""), at=spec.get("at", "")) as engine:
        engine.images = dict.fromkeys(spec.get("images", []), b"")
        engine.containers = dict(spec.get("containers", {}))
        engine.networks, engine.volumes = set(spec.get("networks", [])), set(spec.get("volumes", []))
        met = Met(path, [], FakeHardware(docker_socket=path))
        yield met
    met.sent.extend(
        f"{request.method} {request.target}" + (f" + {len(request.body)} bytes" if request.body else "")
        for request in engine.requests
    )
