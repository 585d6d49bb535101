"""An install from a server that was cut goes on in another process: what is there already is not fetched again."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.chunked import WAYS, chunked_image
from tests.faults.device import OLD_ENV, Device
from tests.faults.images import Image, noise
from tests.programs import PROJECT, Done, run_swagent

from .server import Answer, Exchange, Server, serving

MIB = 1 << 20
SIZE = 24 * MIB
QUICK = ("--retry-wait", "0", "--timeout", "5", "--retries", "0")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    found = Device(tmp_path / "unit")
    (found.root / "slot-b.img").write_bytes(bytes(SIZE))
    return found


def serve(**how: object) -> Answer:
    return lambda exchange: exchange.serve(**how)  # type: ignore[arg-type]  # the arguments of serve


def words(device: Device, server: Server) -> list[str]:
    return ["-i", server.url, *device.options(), *QUICK, "-K", str(device.root / "aes.key")]


def environment(device: Device) -> dict[str, str]:
    return {
        "TMPDIR": str(device.tmp),
        "RUNTIME_DIRECTORY": str(device.run),
        "STATE_DIRECTORY": str(device.folder / "state"),
    }


def install(device: Device, server: Server, *more: str) -> Done:
    state = str(device.folder / "state")
    return run_swagent([*words(device, server), "--json", *more], device.folder, STATE_DIRECTORY=state)


def cut_by_power(device: Device, image: Image, *, tenths: int = 9) -> None:
    """SIGKILL the install when the server has given so much and then nothing more, and the device has written it."""
    raw = image.raw
    cut = len(raw) * tenths // 10
    target = device.root / "slot-b.img"
    plain = image.holds["slot-b.img"]
    with serving(raw, serve(cut_bytes=cut, how="stall")) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "swagent", *words(device, server)],
            cwd=PROJECT,
            env={**os.environ, **environment(device)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        chunk = (len(plain) * tenths // 10 // MIB - 1) * MIB  # decoders lag a little behind
        deadline_s = time.monotonic() + 30
        while target.stat().st_size < chunk or not _holds(target, plain, chunk):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert device.env()["slot"] == OLD_ENV["slot"]


def _holds(target: Path, plain: bytes, at: int) -> bool:
    with target.open("rb") as file:
        file.seek(at - 4096)
        return file.read(4096) == plain[at - 4096 : at]


def holds(device: Device, image: Image) -> None:
    """The update is there, and boots next."""
    plain = image.holds["slot-b.img"]
    assert (device.root / "slot-b.img").read_bytes()[: len(plain)] == plain
    assert device.env() == {**OLD_ENV, **image.env, "ustate": "1"}


def test_a_power_cut_at_nine_tenths_costs_little(device: Device) -> None:
    image = chunked_image(str(device.root), noise(SIZE))
    cut_by_power(device, image)
    with serving(image.raw) as server:
        done = install(device, server)
        assert done.code == 0, done.text
        holds(device, image)
        assert server.sent_bytes < len(image.raw) * 15 // 100
        assert server.ranges[0] == ""
        assert re.fullmatch(r"bytes=\d+-", server.ranges[1]), server.ranges
        assert server.requests[1][1]["if-range"] == '"v1"'
    assert "are there already" in " ".join(done.text.split())


SAMPLE = ("zlib", "aes and zstd", "drops", "changed", "no ranges")
"""What the ordinary run tries."""


def _or_slow(what: list[str]) -> list[object]:
    return [one if one in SAMPLE else pytest.param(one, marks=pytest.mark.slow) for one in what]


@pytest.mark.parametrize("way", _or_slow([way for way in WAYS if way != "plain"]))
def test_every_way_of_storing_goes_on(device: Device, way: str) -> None:
    image = chunked_image(str(device.root), noise(6 * MIB, 2), way=way)
    cut_by_power(device, image, tenths=7)
    with serving(image.raw) as server:
        done = install(device, server)
        assert done.code == 0, done.text
    holds(device, image)
    assert ("are there already" in " ".join(done.text.split())) == (way != "xz")


class Changed:
    """Answers the first request with one file, and ranges of it with another."""

    def __init__(self, raw: bytes, **identity: str | int) -> None:
        self.raw = raw
        self.identity = identity

    def __call__(self, exchange: Exchange) -> None:
        exchange.server.content = self.raw
        exchange.server.identity |= self.identity
        exchange.serve()


@pytest.mark.parametrize(
    "fault", _or_slow(["drops", "stalls", "truncated", "no ranges", "changed", "lies", "gone"])
)
def test_what_goes_wrong_while_it_goes_on(device: Device, fault: str) -> None:
    """Whatever the server does, nothing boots but one whole version; and a good server then finishes it."""
    image = chunked_image(str(device.root), noise(6 * MIB, 3))
    other = chunked_image(str(device.root), noise(6 * MIB, 4), version="3.0").raw
    cut_by_power(device, image, tenths=7)
    raw = image.raw
    last = len(raw) - 2 * MIB
    with serving(raw) as server:
        then: dict[str, Answer] = {
            "drops": serve(cut_bytes=MIB),
            "stalls": serve(cut_bytes=MIB, how="stall"),
            "truncated": serve(content=raw[:last], Content_Range=f"bytes 0-{last - 1}/{last}"),
            "no ranges": serve(ranges=False),
            "changed": Changed(other, ETag='"v2"'),
            "lies": Changed(other),
            "gone": lambda exchange: exchange.refuse(410),
        }
        server.plan = [Exchange.serve, then[fault]]
        done = install(device, server)
        assert "Traceback" not in done.text
        if fault == "no ranges":
            assert done.code == 0, done.text
        else:
            codes = {"stalls": (51,), "lies": (10, 21)}.get(fault, (50,))
            assert done.code in codes, done.text
            assert device.env()["slot"] == OLD_ENV["slot"]
    with serving(raw) as server:
        assert install(device, server).code == 0
    holds(device, image)


def test_another_image_starts_over(device: Device) -> None:
    cut_by_power(device, chunked_image(str(device.root), noise(6 * MIB, 5)), tenths=7)
    other = chunked_image(str(device.root), noise(6 * MIB, 6), version="3.0")
    with serving(other.raw) as server:
        done = install(device, server)
        assert done.code == 0, done.text
        assert server.ranges == [""]
        assert "are there already" not in " ".join(done.text.split())
    holds(device, other)


def test_a_failure_goes_on_too(device: Device) -> None:
    """A wrong chunk in the middle: it is refused before it is written, and the next attempt begins with it."""
    image = chunked_image(str(device.root), noise(8 * MIB, 7))
    raw = bytearray(image.raw)
    at = raw.index(image.holds["slot-b.img"][:64]) + 5 * MIB + 100
    raw[at] ^= 1
    with serving(bytes(raw)) as server:
        done = install(device, server)
        assert done.code == 21, done.text
        assert "chunk 5 of 8" in " ".join(done.text.split())
    assert (device.root / "slot-b.img").read_bytes()[5 * MIB : 6 * MIB] == bytes(MIB)
    with serving(image.raw) as server:
        done = install(device, server)
        assert done.code == 0, done.text
        assert f"{5 * MIB} bytes" in " ".join(done.text.split())
    holds(device, image)
