"""The same answers as resources below ``/ecu/<serial>/``, for TLS and for images of any length.

An ECU that shows a certificate speaks for the serial that is its common name, and for no other.
"""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import parse_qs, unquote, urlsplit

from swagent.errors import SwagentError, TransportError
from swagent.model import Reader
from swagent.uptane.errors import InvalidMetadata, Spoofing
from swagent.uptane_client.desk import Desk

from .server import Answer, Request

PORT = 30720
_REST = re.compile(r"bytes=([0-9]{1,18})-\Z")


class Resources:
    """Answers requests for resources from a desk.

    Args:
        desk: what the Primary has.
        log: hears of refused requests: level and line.
        certified: whether a client must be who its certificate says; without, it is believed.
    """

    def __init__(self, desk: Desk, log: Callable[[str, str], None], *, certified: bool) -> None:
        self._desk = desk
        self._log = log
        self._certified = certified

    def __call__(self, request: Request) -> Answer:
        """One request: 404 for what there is not, 409 for what is refused, 503 for what is not there yet."""
        parts = urlsplit(request.path)
        words = parts.path.split("/")
        if len(words) != 4 or words[:2] != ["", "ecu"]:
            return Answer(404)
        serial, what = unquote(words[2]), words[3]
        try:
            if self._certified and request.peer != serial:
                raise Spoofing(f"the holder of the certificate {request.peer[:60]!r} asks as {serial[:60]!r}")
            if request.method == "GET" and what == "image":
                return self._image(serial, request)
            if request.method == "GET":
                return self._get(serial, what)
            if request.method == "PUT":
                return self._put(serial, what, parts.query, request.body)
        except TransportError as exc:
            return _refusal(503, exc)
        except SwagentError as exc:
            self._log("warn", exc.message)
            return _refusal(409, exc)
        return Answer(405)

    def _get(self, serial: str, what: str) -> Answer:
        desk = self._desk
        if what == "attestation":
            raw = desk.attestation(serial)
            return Answer(200, raw) if raw else Answer(404)
        if what == "metadata":
            return Answer(200, desk.metadata(serial, partial=False), "application/zip")
        if what == "director-targets":
            return Answer(200, desk.metadata(serial, partial=True))
        if what == "update":
            target = desk.assigned(serial)
            if target is None:
                return Answer(404)
            form = target.travelling
            facts = {"name": form.path, "length": form.length_bytes, "fetched": desk.has_fetched(target)}
            return Answer(200, json.dumps(facts).encode(), "application/json")
        return Answer(404)

    def _image(self, serial: str, request: Request) -> Answer:
        """An image, or the rest of it for an ECU whose connection broke; always read from its beginning, and judged."""
        stack = ExitStack()
        found = stack.enter_context(self._desk.image(serial))
        if found is None:
            return Answer(404)
        target, source = found
        etag = '"' + "-".join(target.hashes[name] for name in sorted(target.hashes)) + '"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        wanted = _REST.match(request.range)
        first = int(wanted[1]) if wanted and request.if_range in ("", etag) else 0
        if first >= target.length_bytes:
            stack.close()
            return Answer(416, headers={**headers, "Content-Range": f"bytes */{target.length_bytes}"})
        if first:
            last = target.length_bytes - 1
            headers["Content-Range"] = f"bytes {first}-{last}/{target.length_bytes}"
        return Answer(
            206 if first else 200,
            _Rest(source, first),
            length_bytes=target.length_bytes - first,
            headers=headers,
            done=stack.close,
        )

    def _put(self, serial: str, what: str, query: str, body: bytes) -> Answer:
        if what == "registration":
            self._desk.register(serial)
            return Answer(200)
        if what != "report":
            return Answer(404)
        words = parse_qs(query, keep_blank_values=True, max_num_fields=8)
        vin, nonce = words.get("vin", [""])[0], words.get("nonce", [""])[0]
        if not (nonce.isascii() and nonce.isdecimal() and len(nonce) <= 10):
            raise InvalidMetadata(f"the nonce of {serial[:60]!r} is no number")
        self._desk.submit(vin, serial, int(nonce), body)
        return Answer(200)


class _Rest:
    """A ``Reader`` of what lies behind so many bytes of another one, which is read all the same."""

    def __init__(self, source: Reader, first: int) -> None:
        self._source = source
        self._skip_bytes = first

    def readinto(self, buffer: memoryview) -> int:
        while self._skip_bytes:
            n = self._source.readinto(buffer[: min(len(buffer), self._skip_bytes)])
            if not n:
                return 0
            self._skip_bytes -= n
        return self._source.readinto(buffer)


def _refusal(status: int, exc: SwagentError) -> Answer:
    return Answer(status, exc.message.encode(errors="replace"), "text/plain; charset=utf-8")
