"""Updates through the daemon, by our own clients."""

import json
import threading
import time
from pathlib import Path

import pytest

from swagent.errors import Busy, NotAcknowledged
from swagent.ipc import DryRun, Progress, Request, Status, progress
from tests.authdb.databases import a_list, make
from tests.conftest import KeyRing

from .running import HARDWARE, Running, daemon, signed_image, until


def send(running: Running, image: Path, request: Request = Request()) -> list[str]:  # noqa: B008 - immutable
    """Install an image; returns the lines of the log until the daemon is idle, the last with the result."""
    with running.client.install(request) as upload:
        upload.send(image.read_bytes())
    lines = []
    for reply in running.client.lines():
        lines.append(f"{Status(reply.current).name} {reply.text}")
    return [*lines, f"= {Status(reply.last_result).name}"]


class Listening:
    """Collects what a progress socket tells."""

    def __init__(self, path: Path, *, old: bool) -> None:
        self.heard: list[Progress] = []
        self._thread = threading.Thread(target=self._listen, args=(str(path), old), daemon=True)
        self._thread.start()
        time.sleep(0.3)  # until it has connected: nothing is told to it then

    def _listen(self, path: str, old: bool) -> None:
        for each in progress(path, old=old):
            self.heard.append(each)

    def until(self, status: int) -> list[Progress]:
        until(lambda: any(each.status == status for each in self.heard), f"{status} among {self.heard}")
        return self.heard


@pytest.mark.parametrize(("name", "old"), [("swupdateprog", False), ("swupdateprog.2022", True)])
def test_an_update(tmp_path: Path, key_ring: KeyRing, name: str, old: bool) -> None:
    image = signed_image(tmp_path, key_ring, bytes(3_000_000))
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        listening = Listening(running.folder / name, old=old)
        lines = send(running, image, Request(info="by hand", origin=1, length_bytes=image.stat().st_size))
        heard = listening.until(Status.SUCCESS)
        assert running.stop() == 0
    assert lines[0] == "START Software Update started !"
    assert lines[-4:] == [
        "SUCCESS SWUPDATE successful !",
        "RUN Main thread sleep again !",
        "IDLE Waiting for requests...",
        "= SUCCESS",
    ]
    assert (tmp_path / "target").stat().st_size == 3_000_000
    downloads = [each for each in heard if each.status == Status.DOWNLOAD]
    assert downloads[-1].download_percent == 100
    assert {each.download_bytes for each in downloads} == {image.stat().st_size}
    heard = [each for each in heard if each.status != Status.DOWNLOAD]
    assert (heard[0].status, heard[0].steps, heard[0].info) == (Status.START, 1, "by hand")
    assert (heard[1].status, heard[1].info) == (Status.RUN, '{"0": {"VERSION" : "1.0.1"}}')
    steps = [each for each in heard if each.step == 1]
    assert (steps[0].status, steps[0].image, steps[0].handler) == (Status.RUN, "file", "rawfile")
    assert steps[-1].status == Status.SUCCESS
    assert steps[-2].percent == 100
    assert all(each.origin == 1 for each in heard)
    assert not list(running.folder.glob("*prog*")), "sockets are removed at the end"


def test_a_bad_update_and_then_a_good_one(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    bad = tmp_path / "bad.swu"
    bad.write_bytes(image.read_bytes().replace(b"1.0.1", b"1.0.2"))
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        lines = send(running, bad)
        assert lines[-4] == "FAILURE Error happened. Not installing ..."
        assert lines[-1] == "= FAILURE"
        assert not (tmp_path / "target").exists()
        assert send(running, image)[-1] == "= SUCCESS"


def test_one_at_a_time(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        with running.client.install(Request()) as first:
            first.send(image.read_bytes()[:100])
            with pytest.raises(Busy):
                running.client.install(Request())
            assert running.client.status().current != Status.IDLE
        assert list(running.client.lines())[-1].last_result == Status.FAILURE
        assert send(running, image)[-1] == "= SUCCESS"


def test_the_client_may_wait_with_hanging_up(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    with (
        daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running,
        running.client.install(Request()) as upload,
    ):
        upload.send(image.read_bytes())
        assert list(running.client.lines())[-1].last_result == Status.SUCCESS


def test_dry_runs(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    words = ("-n", "-p", f"touch {tmp_path}/hook")
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, *words) as running:
        assert send(running, image)[-1] == "= SUCCESS"
        assert not (tmp_path / "target").exists()
        running.client.post_update()
        assert not (tmp_path / "hook").exists(), "there is nothing to run it for"
        assert send(running, image, Request(dry_run=DryRun.OFF))[-1] == "= SUCCESS"
        assert (tmp_path / "target").exists()
        assert not (tmp_path / "hook").exists(), "only on request"
        running.client.post_update()
        assert (tmp_path / "hook").exists()


def test_only_selections_that_were_allowed(tmp_path: Path, key_ring: KeyRing) -> None:
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, "-q", "stable,copy1") as running:
        with pytest.raises(NotAcknowledged, match="stable,copy2"):
            running.client.install(Request(software_set="stable", running_mode="copy2"))
        running.client.install(Request(software_set="stable", running_mode="copy1")).close()


def test_the_codes_of_a_controlling_program(tmp_path: Path, key_ring: KeyRing) -> None:
    """A program that drives the daemon hears the numbers of old, from the first one on (authorization db §8)."""
    image = signed_image(tmp_path, key_ring, bytes(1000))
    with daemon(tmp_path, "-k", key_ring.cert, "--json", *HARDWARE) as running:
        send(running, image)
        assert running.stop() == 0
        lines = [json.loads(line) for line in running.text().splitlines() if line.startswith("{")]
    assert [line["code"] for line in lines if "code" in line] == [0x3001, 0x3002, 0x3008, 0x300B, 0x300E]


def test_the_end_of_the_daemon_cancels_an_update(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring, bytes(1_000_000))
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        with running.client.install(Request()) as upload:
            upload.send(image.read_bytes()[:500_000])
            assert running.stop() == 0
        assert "cancelled" in running.text()
    assert not (tmp_path / "target").exists()


def test_what_a_killed_daemon_was_doing_is_told_by_the_next(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring, bytes(8_000_000), direct=True)
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        listening = Listening(running.folder / "swupdateprog", old=False)
        with running.client.install(Request()) as upload:
            upload.send(image.read_bytes()[:7_000_000])
            until(lambda: any(each.step == 1 for each in listening.heard), "its first step")
            running.process.kill()
            running.process.wait()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        assert "was cut while writing" in running.text()
        assert running.client.ask_ours({"do": "state"})["updates"][0]["verdict"] == "FAILED"
        assert send(running, image)[-1] == "= SUCCESS"


def test_the_progress_socket_tells_of_authorization(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring, bytes(1000))
    make(tmp_path / "UniAuth.db", [a_list("msn", "SN2")])
    (tmp_path / "swupdate.cfg").write_text(
        f'globals : {{ }};\nauthorization : {{ database = "{tmp_path}/UniAuth.db"; msn = "text:SN1"; }};\n'
    )
    with daemon(tmp_path, "-f", tmp_path / "swupdate.cfg", "-k", key_ring.cert, *HARDWARE) as running:
        listening = Listening(running.folder / "swupdateprog", old=False)
        lines = send(running, image)
        heard = listening.until(Status.FAILURE)
        assert running.stop() == 0
    assert lines[-1] == "= FAILURE"
    told = [json.loads(each.info) for each in heard if each.info.startswith('{"code"')]
    assert told == [
        {"code": 0x4003, "event": "authorization.checking", "list": "msn", "datum": "SN1"},
        {
            "code": 0x4004,
            "event": "authorization.failed",
            "list": "msn",
            "datum": "SN1",
            "reason": "mismatch",
        },
    ]
