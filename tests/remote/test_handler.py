"""The handler against a program that knows only pyzmq and the protocol's page."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from swagent.errors import (
    Cancelled,
    DeadlineError,
    DescriptionError,
    HandlerError,
    HashError,
    PreflightRefused,
    RegistrationError,
    SwagentError,
    TransportError,
)
from swagent.model import Artifact, Compression, Kind
from swagent.testing import FakeContext, FakeData, install

from .peer import Answer, listening

pytest.importorskip("zmq")

ARTIFACT = bytes(range(256)) * 200  # three chunks and a piece


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TMPDIR, with a path that is short enough for a socket."""
    path = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("TMPDIR", str(path))
    return path


def image(data: str = "peer", *, direct: bool = True, **properties: str) -> Artifact:
    values = {name.replace("_", "-"): (value,) for name, value in properties.items()}
    return Artifact(
        Kind.IMAGE,
        "remote",
        "fw.bin",
        data=data,
        installed_directly=direct,
        properties=values,
        where="images[0] fw.bin",
    )


def hand_over(folder: Path, content: bytes = ARTIFACT, art: Artifact | None = None) -> FakeContext:
    ctx = FakeContext(str(folder))
    install(art or image(), FakeData(content), ctx)
    return ctx


def resources() -> tuple[int, int]:
    """Open descriptors and threads."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def settled(before: tuple[int, int]) -> bool:
    """Whether everything taken since was given back; libzmq's threads take a moment to end."""
    for _ in range(100):
        if resources() <= before:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("n_bytes", [0, 1, 16383, 16384, 16385, 32768, len(ARTIFACT)])
def test_frames_to_the_byte(folder: Path, n_bytes: int) -> None:
    with listening(f"{folder}/peer") as peer:
        hand_over(folder, ARTIFACT[:n_bytes])
    chunks = [ARTIFACT[at : min(at + 16384, n_bytes)] for at in range(0, n_bytes, 16384)]
    assert peer.requests == [[b"INIT:%d" % n_bytes, b""], *([b"DATA", chunk] for chunk in chunks)]
    assert peer.artifact == ARTIFACT[:n_bytes]


def test_short_reads_make_full_chunks(folder: Path) -> None:
    with listening(f"{folder}/peer") as peer:
        install(image(), FakeData(ARTIFACT, chunk_bytes=1000), FakeContext(str(folder)))
    assert peer.artifact == ARTIFACT


def test_the_last_bytes_wait_for_the_verdict(folder: Path) -> None:
    for n_bytes in (1, 16384, 20000, 32768):
        with listening(f"{folder}/peer") as peer, pytest.raises(HashError):
            install(
                image(), FakeData(ARTIFACT[:n_bytes], verdict=HashError("wrong")), FakeContext(str(folder))
            )
        assert len(peer.artifact) < n_bytes == peer.announced


@pytest.mark.parametrize("stage", range(5))
def test_a_refusal_at_each_stage(folder: Path, stage: int) -> None:
    before = resources()
    with (
        listening(f"{folder}/peer", lambda number, _: [b"NACK" if number == stage else b"ACK"]) as peer,
        pytest.raises(HandlerError, match="refuses"),
    ):
        hand_over(folder)
    assert len(peer.requests) == stage + 1
    assert settled(before)


@pytest.mark.parametrize("stage", range(5))
def test_going_away_at_each_stage(folder: Path, stage: int) -> None:
    before = resources()
    begun_s = time.monotonic()
    with (
        listening(f"{folder}/peer", lambda number, _: None if number == stage else [b"ACK"]),
        pytest.raises(DeadlineError, match="no answer within 250 ms"),
    ):
        hand_over(folder, art=image(reply_timeout="250"))
    assert 0.2 < time.monotonic() - begun_s < 2
    assert settled(before)


def test_the_first_reply_may_take_two_seconds(folder: Path) -> None:
    begun_s = time.monotonic()
    with listening(f"{folder}/peer", lambda *_: None), pytest.raises(DeadlineError, match="within 2000 ms"):
        hand_over(folder)
    assert 1.9 < time.monotonic() - begun_s < 4


def test_more_time_on_request(folder: Path) -> None:
    def answers(number: int, frames: list[bytes]) -> Answer:
        if number:
            time.sleep(0.3)
        return [b"ACK:5000" if number == 0 else b"ACK:0" if number == 1 else b"ACK"]

    with listening(f"{folder}/peer", answers) as peer:
        hand_over(folder, art=image(reply_timeout="200"))
    assert peer.artifact == ARTIFACT


def test_less_time_on_request(folder: Path) -> None:
    with (
        listening(f"{folder}/peer", lambda number, _: [b"ACK:100"] if number == 0 else None),
        pytest.raises(DeadlineError, match="within 100 ms"),
    ):
        hand_over(folder)


def test_all_answers_together_have_a_deadline(folder: Path) -> None:
    def answers(number: int, frames: list[bytes]) -> Answer:
        time.sleep(0.4)
        return [b"ACK:999999999"]

    with listening(f"{folder}/peer", answers), pytest.raises(DeadlineError, match="more than 1 s in all"):
        hand_over(folder, art=image(deadline="1"))


@pytest.mark.parametrize(
    "answer",
    [
        [b""], [b"A"], [b"AC"], [b"ACx:5"], [b"ACK:"], [b"ACK:x"], [b"ACK:-1"], [b"ACK:1\n"], [b"ACK\0"], [b"ack"],
        [b"ACK:12345678901"], [b"ACK", b""], [b"", b"ACK"], [b"NACK", b"why"], [b"ACK"] * 1000, [b"A" * 60_000],
        [b"\xff\x1b[31m"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("stage", [0, 2])
def test_nonsense_is_no_consent(folder: Path, answer: list[bytes], stage: int) -> None:
    with (
        listening(f"{folder}/peer", lambda number, _: answer if number == stage else [b"ACK"]) as peer,
        pytest.raises(TransportError, match="neither ACK nor NACK") as caught,
    ):
        hand_over(folder)
    assert len(peer.requests) == stage + 1
    assert len(caught.value.message) < 400


def test_a_huge_answer_is_not_taken_in(folder: Path) -> None:
    with (
        listening(f"{folder}/peer", lambda *_: [b"A" * 10_000_000]),
        pytest.raises(DeadlineError),
    ):
        hand_over(folder, art=image(reply_timeout="500"))


def test_it_can_be_stopped_while_it_waits(folder: Path) -> None:
    before = resources()
    ctx = FakeContext(str(folder))
    checkpoints = iter(range(3))

    def stop() -> None:
        if next(checkpoints, None) is None:
            raise Cancelled("stop")

    ctx.before_checkpoint = stop
    with listening(f"{folder}/peer", lambda *_: None), pytest.raises(Cancelled):
        install(image(reply_timeout="60000"), FakeData(ARTIFACT), ctx)
    assert settled(before)


def test_nobody_there(folder: Path) -> None:
    with pytest.raises(PreflightRefused, match="nobody listens"):
        hand_over(folder)
    ctx = FakeContext(str(folder))
    with pytest.raises(DeadlineError, match="no answer within 200 ms"):
        install(image(direct=False, reply_timeout="200"), FakeData(ARTIFACT), ctx)
    assert any("must be there" in message for _, message in ctx.logged)


def test_a_socket_that_nobody_listens_on(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(f"{folder}/peer")
    with pytest.raises(PreflightRefused, match="Connection refused"):
        hand_over(folder)


def test_a_program_that_begins_later(folder: Path) -> None:
    failed: list[SwagentError] = []

    def work() -> None:
        try:
            hand_over(folder, art=image(direct=False))
        except SwagentError as exc:
            failed.append(exc)

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.2)
    with listening(f"{folder}/peer") as peer:
        worker.join()
    assert not failed
    assert peer.artifact == ARTIFACT


def test_the_former_place_of_the_socket(folder: Path) -> None:
    name = f"swagent-test-{os.getpid()}"
    with listening(f"/tmp/{name}") as peer:
        hand_over(folder, art=image(name))
    assert peer.artifact == ARTIFACT


@pytest.mark.parametrize("name", ["x" * 200, "a\0b"])
def test_no_place_for_a_socket(folder: Path, name: str) -> None:
    with pytest.raises(PreflightRefused, match="no socket can be"):
        hand_over(folder, art=image(name, direct=False))


def test_the_announced_size_is_that_of_the_member(folder: Path) -> None:
    art = image()._replace(compression=Compression.ZLIB)
    ctx = FakeContext(str(folder))
    with listening(f"{folder}/peer") as peer:
        install(art, FakeData(ARTIFACT, size_bytes=None, stored_bytes=77), ctx)
    assert (peer.announced, peer.artifact) == (77, ARTIFACT)
    assert any("plain-size" in message for _, message in ctx.logged)


def test_the_plain_size_on_request(folder: Path) -> None:
    art = image(plain_size="true", decompressed_size=str(len(ARTIFACT)))._replace(
        compression=Compression.ZLIB
    )
    ctx = FakeContext(str(folder))
    with listening(f"{folder}/peer") as peer:
        install(art, FakeData(ARTIFACT, stored_bytes=77), ctx)
    assert peer.announced == len(ARTIFACT)
    assert ctx.logged == []
    with pytest.raises(PreflightRefused, match="decompressed-size"):
        install(image(plain_size="true")._replace(compression=Compression.XZ), FakeData(b""), ctx)
    with listening(f"{folder}/peer"), pytest.raises(DescriptionError, match="unknown"):
        install(image(plain_size="true"), FakeData(b"", size_bytes=None), ctx)


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zmq", None)
    with pytest.raises(RegistrationError, match=r"swagent\[remote\]"):
        hand_over(folder)


def test_many_in_a_row_leave_nothing(folder: Path) -> None:
    with listening(f"{folder}/peer"):
        hand_over(folder)
        before = resources()
        for _ in range(20):
            hand_over(folder, b"x" * 20000)
        assert settled(before)
