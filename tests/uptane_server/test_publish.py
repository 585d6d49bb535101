"""What is served changes as a whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swagent.errors import Busy, DeviceError
from swagent.uptane_server.publish import Site

WRITER = """
import sys
from swagent.uptane_server.publish import Site
folder, image = sys.argv[1:]
number = int(Site(folder).metadata().get("root.json", b"0"))
while True:
    number += 1
    raw = str(number).encode()
    names = [f"{role}.json" for role in ("timestamp", "snapshot", "targets", "root")]
    Site(folder).publish({name: raw for name in names}, {f"i{n}.img": image for n in range(20)})
    print(number, flush=True)
"""


def test_what_was_given_is_served_and_what_was_before_stays_reachable(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"firmware")
    site = Site(str(tmp_path / "site"))
    assert site.metadata() == {}
    assert site.images() == {}
    first = {"1.root.json": b"r", "root.json": b"r", "timestamp.json": b"t1", "1.targets.json": b"a",
             "targets.json": b"a", "7.old.json": b"o", "delegations/x.json": b"x"}  # fmt: skip
    site.publish(first, {"a/firmware.img": str(image)})
    assert site.metadata() == first
    before = os.path.realpath(site.live)
    site.publish({"timestamp.json": b"t2", "2.targets.json": b"b", "targets.json": b"b"}, {})
    assert site.metadata() == {
        "timestamp.json": b"t2", "2.targets.json": b"b", "targets.json": b"b",
        "1.targets.json": b"a", "1.root.json": b"r",
    }  # fmt: skip
    assert site.images() == {}
    assert (Path(before) / "targets/a/firmware.img").read_bytes() == b"firmware", "for whoever is under way"
    site.publish({"timestamp.json": b"t3"}, {})
    assert not Path(before).exists()
    assert "1.targets.json" not in site.metadata()
    assert "1.root.json" in site.metadata()


def test_an_image_that_cannot_be_had_leaves_what_was(tmp_path: Path) -> None:
    site = Site(str(tmp_path))
    site.publish({"timestamp.json": b"1"}, {})
    with pytest.raises(DeviceError, match="nothing"):
        site.publish({"timestamp.json": b"2"}, {"x": str(tmp_path / "nothing")})
    assert site.metadata() == {"timestamp.json": b"1"}
    site.publish({"timestamp.json": b"3"}, {})
    assert site.metadata() == {"timestamp.json": b"3"}
    assert len([name for name in os.listdir(tmp_path / "trees") if name != ".lock"]) == 2


def test_one_publishes_at_a_time(tmp_path: Path) -> None:
    site = Site(str(tmp_path))
    site.publish({"timestamp.json": b"1"}, {})
    with site._alone(), pytest.raises(Busy):
        Site(str(tmp_path)).publish({"timestamp.json": b"2"}, {})
    assert site.metadata() == {"timestamp.json": b"1"}


def test_whoever_is_killed_leaves_the_old_or_the_new_and_readers_never_see_a_mixture(
    quick_path: Path,
) -> None:
    image = quick_path / "image"
    image.write_bytes(b"x" * 1000)
    folder = quick_path / "site"
    newest = 0
    for length in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(image)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(length + 1):  # the next one is under way when it is killed
                newest = int(writer.stdout.readline())
                _one_state(folder)
            for _ in range(40 * length):
                _one_state(folder)
            writer.send_signal(signal.SIGKILL)
        assert _one_state(folder) >= newest
    Site(str(folder)).publish({"timestamp.json": b"0"}, {})
    assert len([name for name in os.listdir(folder / "trees") if name != ".lock"]) == 2


def _one_state(folder: Path) -> int:
    """The number of the state that is served; all files of one tree say the same."""
    while True:
        here = os.path.realpath(folder / "live")
        try:
            found = {path.name: path.read_bytes() for path in Path(here, "metadata").iterdir()}
            images = len(os.listdir(Path(here, "targets")))
        except FileNotFoundError:
            continue
        if here == os.path.realpath(
            folder / "live"
        ):  # else it may be two publications old, and is being taken away
            break
    plain = {found[name] for name in ("timestamp.json", "snapshot.json", "targets.json", "root.json")}
    assert len(plain) == 1
    assert images == 20
    return int(plain.pop())
