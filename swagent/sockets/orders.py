"""Our own messages on the control socket: one JSON object that says what to do (docs/reference/sockets.md)."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from swagent.errors import NotAcknowledged, SelectionRefused, SettingsError
from swagent.ipc import DryRun, Origin, Request
from swagent.settings import read_selection

ASK = ("consent", "user-data")
"""What a controlling program may want to decide."""
VERBS = ("install", "inspect", "answer", "cancel", "state")
_TEXT_MAX = 512
_KEYS: Mapping[str, type] = {
    "do": str, "name": str, "length": int, "hashes": dict, "origin": str, "correlation_id": str, "info": str,
    "selection": str, "dry_run": bool, "ask": list, "question": str, "answer": str,
}  # fmt: skip


class Order(NamedTuple):
    """What somebody wants.

    Attributes:
        do: one of ``VERBS``.
        name: of the update, for people.
        length_bytes: of the update, None when its own end counts.
        hashes: algorithm to hex digest of the whole of it. They are checked beside its signature, never instead of it.
        origin: who asks, such as ``webserver``.
        correlation_id: what events about it carry.
        ask: what the controlling program wants to decide, words of ``ASK``.
        question: which one is answered.
    """

    do: str
    name: str = ""
    length_bytes: int | None = None
    hashes: Mapping[str, str] = MappingProxyType({})
    origin: str = ""
    correlation_id: str = ""
    info: str = ""
    selection: str = ""
    dry_run: bool | None = None
    ask: tuple[str, ...] = ()
    question: str = ""
    answer: str = ""

    def request(self) -> Request:
        """What SWUpdate's clients would ask for.

        Raises:
            SelectionRefused: the selection is none.
        """
        wanted = ("", "")
        if self.selection:
            try:
                wanted = read_selection(self.selection, where="selection")
            except SettingsError as exc:
                raise SelectionRefused(exc.message, hint=exc.hint) from exc
        known = {origin.name.lower(): origin for origin in Origin}
        dry_run = DryRun.DEFAULT if self.dry_run is None else DryRun.ON if self.dry_run else DryRun.OFF
        origin = known.get(self.origin.lower(), Origin.LOCAL)
        return Request(origin, dry_run, self.info, *wanted, self.length_bytes or 0)


def read_order(text: bytes | None) -> Order:
    """Read such an object.

    Raises:
        NotAcknowledged: it is none, or has what it must not have.
    """
    try:
        found = json.loads(text or b"")
    except (ValueError, RecursionError) as exc:
        raise NotAcknowledged("the order is not JSON") from exc
    if not isinstance(found, dict):
        raise NotAcknowledged("the order is no JSON object")
    for key, value in found.items():
        kind = _KEYS.get(key)
        if kind is None:
            raise NotAcknowledged(f"the order has an unknown key {key[:40]!r}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise NotAcknowledged(f"{key} in the order is no {kind.__name__}")
        if isinstance(value, str) and len(value) > _TEXT_MAX:
            raise NotAcknowledged(f"{key} in the order is longer than {_TEXT_MAX} characters")
    return _checked(found)


def _checked(found: dict[str, Any]) -> Order:
    do = found.get("do", "")
    if do not in VERBS:
        raise NotAcknowledged(f"the order wants {do[:40]!r}", hint=f"known are {', '.join(VERBS)}")
    length = found.pop("length", None)
    if length is not None and not 0 < length < 1 << 62:
        raise NotAcknowledged(f"an update has no length of {length} bytes")
    hashes = found.pop("hashes", {})
    if not all(isinstance(digest, str) and len(digest) <= 128 for digest in hashes.values()):
        raise NotAcknowledged("a hash in the order is no digest in hex")
    ask = tuple(found.pop("ask", ()))
    if not all(isinstance(word, str) and word in ASK for word in ask):
        raise NotAcknowledged(
            "the order wants to be asked what is never asked", hint=f"known are {', '.join(ASK)}"
        )
    if found.get("origin") == "uptane":
        raise NotAcknowledged(
            "what Uptane chose is not taken over a socket: its metadata must be verified where it is installed",
            hint="`swagent uptane daemon --installer swu` does both",
        )
    return Order(**found, length_bytes=length, hashes=hashes, ask=ask)
