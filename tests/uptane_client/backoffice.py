"""A back end as aktualizr knows it: writes down what it is sent, and answers as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: Any


class BackOffice:
    """What came, and what is answered.

    Attributes:
        asked: in their order.
        taken: the events among them that were taken.
        answer: status of the answer to a request.
        gives: path to what a GET gets.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Callable[[Asked], int] = lambda asked: 200
        self.gives: dict[str, bytes] = {}
        self.url = ""

    @property
    def kinds(self) -> list[str]:
        """The types of the events."""
        return [event["eventType"]["id"] for event in self.taken]


@contextmanager
def back_office() -> Iterator[BackOffice]:
    """A server on a port of its own, until the block ends."""
    office = BackOffice()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = Asked("GET", self.path, None)
            self._answer(asked, office.gives.get(self.path, b""))

        def take(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            kind = self.headers["Content-Type"]
            self._answer(Asked(self.command, self.path, json.loads(raw) if "json" in kind else raw), b"{}")

        do_POST = do_PUT = take  # noqa: N815 - the names that http.server looks for

        def _answer(self, asked: Asked, body: bytes) -> None:
            office.asked.append(asked)
            status = office.answer(asked)
            if status == 200 and asked.path == "/events":
                office.taken += asked.body
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    office.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield office
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
