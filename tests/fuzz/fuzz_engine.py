"""What a container engine may answer: HTTP, and the JSON in it."""

import os
import socket
import threading
from contextlib import suppress
from tempfile import TemporaryDirectory

from swagent.errors import SwagentError
from swagent.handlers import docker
from swagent.hw.engine import ANSWER_BYTES_MAX, Engine
from swagent.model import Artifact, Kind


def one_input(data: bytes) -> None:
    """``h``: raw bytes instead of an answer; anything else: the body of one."""
    if data[:1] == b"h":
        _raw(data[1:])
        return
    with suppress(SwagentError):
        assert all(isinstance(said, dict) for said in docker._objects(data[1:]))
    refusal = docker._refusal(Artifact(Kind.IMAGE, "docker_imageload"), 500, data[1:])
    assert refusal.message.isprintable()
    assert len(refusal.message) < 400


def _raw(data: bytes) -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "s")
        listener.bind(path)
        listener.listen(1)
        worker = threading.Thread(target=_answer, args=(listener, data))
        worker.start()
        try:
            _, body = Engine(path, waiting=lambda: None, timeout_s=2).ask("GET", "/_ping")
            assert len(body) <= min(len(data), ANSWER_BYTES_MAX)
        except SwagentError as exc:
            assert exc.message.isprintable()
        finally:
            worker.join()


def _answer(listener: socket.socket, data: bytes) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.recv(4096)
        connection.sendall(data)


def seeds() -> list[bytes]:
    """Answers as docker and podman give them."""
    loaded = b'{"stream":"Loaded image: acme/app:1.0\\n"}\n'
    error = b'{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}\n'
    head = b"hHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return [
        b"b" + loaded * 2,
        b"b" + loaded + error,
        b'b{"message":"No such container: app"}',
        b'b{"cause":"no such container","message":"none","response":404}',
        b"b" + b"[" * 2000,
        head + b"Content-Length: 42\r\n\r\n" + loaded,
        head + b"Transfer-Encoding: chunked\r\n\r\n2A\r\n" + loaded + b"\r\n0\r\n\r\n",
        b"hHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"hHTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n",
        b"hHTTP/1.0 500 no\r\n\r\n" + error,
    ]
