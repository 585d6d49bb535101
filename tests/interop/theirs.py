"""The reference's side where ours answers: live, or as it asked when it was recorded."""

import io
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from xmlrpc.client import loads
from zipfile import ZipFile

from .reference import Peer
from .wire import Exchange, Recorder, Transcript, as_message, ask

_COMPARED = ("http/", "content-type:")
_ARCHIVE = b"UEsD"  # of base64


class Party:
    """The reference's Primary or one of its Secondaries.

    Args:
        name: ``primary`` or ``secondary``.
        serial: who it is.
        peer: the process; None in a replay.
    """

    def __init__(self, name: str, serial: str, peer: Peer | None = None) -> None:
        self._name = f"demo.demo_{name}"
        self._serial = serial
        self._peer = peer

    def begin(self, **how: Any) -> list[str]:
        """It comes from the factory, makes itself known and reports; returns the banners."""
        return self._do("clean_slate", ecu_serial=self._serial, **how)

    def cycle(self) -> list[str]:
        """A cycle; returns the banners."""
        return self._do("update_cycle")

    def partial_cycle(self) -> str:
        """A cycle as a partial Secondary."""
        assert self._peer is not None
        result: str = self._peer.call("__main__.partial_cycle", "targets")
        return result

    def _do(self, verb: str, **how: Any) -> list[str]:
        assert self._peer is not None
        self._peer.call(f"{self._name}.{verb}", **how)
        return self._peer.banners()


class Theirs(Protocol):
    """What asks our servers."""

    def does(self, what: Callable[[], Any], result: Any) -> None:
        """Something of the reference's, with the result that it must have."""


class Live:
    """The reference itself, through a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.steps: list[int] = []

    def does(self, what: Callable[[], Any], result: Any) -> None:
        before = len(self._recorder.exchanges)
        found = what()
        assert found == result, f"{found!r}, not {result!r}"
        self.steps.append(len(self._recorder.exchanges) - before)


class Again:
    """Asks what was asked, and compares all answers byte for byte, and of their heads what matters."""

    def __init__(self, transcript: Transcript, ports: Mapping[str, int]) -> None:
        self._steps = iter(transcript.facts["steps"])
        self._exchanges = iter(transcript.exchanges)
        self._ports = ports

    def does(self, what: Callable[[], Any], result: Any) -> None:
        for _ in range(next(self._steps)):
            self._ask(next(self._exchanges))

    def _ask(self, exchange: Exchange) -> None:
        found = as_message(ask(self._ports[exchange.to], exchange.request))
        assert _opened(found.body) == _opened(exchange.answer.body), exchange.request.head[0]
        assert _steady(found.head) == _steady(exchange.answer.head), exchange.request.head[0]

    def left(self) -> list[Exchange]:
        """What was not asked again."""
        return list(self._exchanges)


def _steady(head: tuple[str, ...]) -> list[str]:
    return [line for line in head if line.lower().startswith(_COMPARED)]


def _opened(body: bytes) -> object:
    """The files of an archive in the place of its bytes, which depend on the zlib that there is."""
    if _ARCHIVE not in body:
        return body
    archive: Any = loads(body, use_builtin_types=True)[0][0]
    with ZipFile(io.BytesIO(archive)) as found:
        return {name: found.read(name) for name in found.namelist()}
