"""Our own messages: updates with promises and questions, a look, cancelling, the state."""

import hashlib
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import Busy, NotAcknowledged, SwagentError
from swagent.ipc import Request
from tests.cli.event_schema import problems
from tests.conftest import KeyRing

from .running import HARDWARE, Running, daemon, signed_image, until


def install(
    running: Running, image: bytes, order: dict[str, Any], *, answer: str = ""
) -> list[dict[str, Any]]:
    """Hand an update in; returns its events."""
    heard = []
    with running.client.ours({"do": "install", **order}, patience_s=60) as connection:
        sender = threading.Thread(target=_send, args=(connection, image))
        sender.start()
        for event in connection.events():
            heard.append(event)
            if event["event"] == "update.asked" and answer:
                running.client.ask_ours({"do": "answer", "question": event["question"], "answer": answer})
        sender.join()
    for event in heard:
        assert not problems(json.dumps(event)), event
    return heard


def _send(connection: Any, image: bytes) -> None:
    try:
        connection.send(image)
        connection.end()
    except SwagentError:  # the daemon has heard enough
        return


def promises(image: bytes) -> dict[str, Any]:
    return {"length": len(image), "hashes": {"sha256": hashlib.sha256(image).hexdigest()}}


def test_an_update_with_promises(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        order = {**promises(image), "name": "july", "correlation_id": "job-7", "origin": "webserver"}
        heard = install(running, image, order)
        state = running.client.ask_ours({"do": "state"})
    assert heard[0]["event"] == "update.started"
    assert heard[0]["correlation_id"] == "job-7"
    assert heard[0]["source"] == "july"
    assert heard[-1]["result"] == "installed"
    assert heard[-1]["correlation_id"] == "job-7"
    assert (tmp_path / "target").exists()
    assert state["updates"][0]["correlation_id"] == "job-7"
    assert state["busy"] is False


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"hashes": {"sha256": "00" * 32}}, "HashError"),
        ({"length": 100, "hashes": {}}, "ArchiveError"),
        ({"length": 1 << 40}, "SizeError"),
        ({"hashes": {"md5": "00" * 16}}, "UsageError"),
    ],
)
def test_promises_that_are_not_kept(
    tmp_path: Path, key_ring: KeyRing, change: dict[str, Any], error: str
) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        heard = install(running, image, {**promises(image), **change})
    assert heard[-1]["event"] == "update.verdict"
    assert heard[-1]["error"]["class"] == error
    assert not (tmp_path / "target").exists()


def test_a_hash_does_not_replace_the_signature(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.stranger_cert, *HARDWARE) as running:
        assert install(running, image, promises(image))[-1]["error"]["class"] == "SignatureError"


@pytest.mark.parametrize(("answer", "result"), [("yes", "installed"), ("no", "refused")])
def test_consent(tmp_path: Path, key_ring: KeyRing, answer: str, result: str) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        heard = install(running, image, {"ask": ["consent"]}, answer=answer)
    (asked,) = [event for event in heard if event["event"] == "update.asked"]
    assert asked["about"] == "consent"
    assert asked["plan"]["version"] == "1.0.1"
    assert heard[-1]["result"] == result
    assert (tmp_path / "target").exists() == (result == "installed")


def test_who_asks_and_leaves_agrees_to_nothing(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        with running.client.ours({"do": "install", "ask": ["consent"]}) as connection:
            connection.send(image)
            assert any(event["event"] == "update.asked" for event in connection.events())
        until(lambda: not running.client.ask_ours({"do": "state"})["busy"], "the end")
    assert not (tmp_path / "target").exists()


def test_answers_that_are_none(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        with pytest.raises(NotAcknowledged):
            running.client.ask_ours({"do": "answer", "question": "x", "answer": "yes"})
        with running.client.ours({"do": "install", "ask": ["consent"]}, patience_s=60) as connection:
            connection.send(image)
            for event in connection.events():
                if event["event"] == "update.asked":
                    break
            for question, answer in (("x", "yes"), (event["question"], "perhaps")):
                with pytest.raises(NotAcknowledged):
                    running.client.ask_ours({"do": "answer", "question": question, "answer": answer})
            running.client.ask_ours({"do": "cancel"})
            *_, verdict = connection.events()
            assert verdict["result"] == "cancelled"


def test_cancel_while_bytes_come(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring, bytes(100_000)).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        with pytest.raises(NotAcknowledged):
            running.client.ask_ours({"do": "cancel"})
        with running.client.ours({"do": "install"}, patience_s=60) as connection:
            connection.send(image[:50_000])
            with pytest.raises(Busy):
                running.client.ours({"do": "install"})
            running.client.ask_ours({"do": "cancel"})
            *_, verdict = connection.events()
        assert verdict["result"] == "cancelled"
        assert install(running, image, {})[-1]["result"] == "installed"


def test_a_look(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring, bytes(1_000_000)).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        with running.client.install(Request()), running.client.ours({"do": "inspect"}) as connection:
            connection.send(image[:8192])
            connection.end()
            (answer,) = connection.events()
        assert answer["version"] == "1.0.1"
        assert answer["gates"]["hardware"] == "yes"
        assert answer["refusal"] is None
        with running.client.ours({"do": "inspect"}) as connection:
            connection.send(image[:100])
            connection.end()
            (answer,) = connection.events()
        assert answer["error"]["class"] == "ArchiveError"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "order",
    [
        {"do": "dance"},
        {"do": "install", "lenght": 5},
        {"do": "install", "length": "5"},
        {"do": "install", "length": True},
        {"do": "install", "length": 0},
        {"do": "install", "ask": ["everything"]},
        {"do": "install", "hashes": {"sha256": 5}},
        {"do": "install", "selection": "one"},
        {"do": "install", "selection": "a,b"},
        {"do": "install", "origin": "uptane"},
        {"do": "install", "info": "x" * 600},
        {},
    ],
)
def test_orders_that_are_none(tmp_path: Path, key_ring: KeyRing, order: dict[str, Any]) -> None:
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running, pytest.raises(NotAcknowledged):
        running.client.ours(order)


def test_a_listener_that_comes_later_hears_what_was(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring).read_bytes()
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE) as running:
        install(running, image, {})
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(running.folder / "swagent-events"))
            text = b""
            while b"update.verdict" not in text or not text.endswith(b"\n"):
                text += sock.recv(65536)
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["event"] == "update.started"
    assert lines[-1]["result"] == "installed"
