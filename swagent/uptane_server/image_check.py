"""What a client of the published state would say of the next one, asked before it goes live."""

from collections.abc import Mapping

from swagent.uptane.codecs.base import Codec
from swagent.uptane.errors import ExpiredMetadata
from swagent.uptane.metadata import IMAGE, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Document, Snapshot, Timestamp
from swagent.uptane.repository import NO_FLOORS, Floors
from swagent.uptane.rules import Rules
from swagent.uptane.trust import judge_signatures
from swagent.uptane_client.refresh import Refresh

from .staged import authorities, targets_roles


def judge(
    files: Mapping[str, bytes],
    live: Mapping[str, bytes],
    documents: Mapping[str, Document],
    codec: Codec,
    rules: Rules,
    now_s: int,
) -> None:
    """Bring a client that has the live state, or a first root alone, to the next state.

    Args:
        files: the next state, by file name.
        live: the present one; empty before the first publication.
        documents: the same by role, for what only clients that look for one image would fetch.
        codec: the encoding.
        rules: of the client.
        now_s: the time.

    Raises:
        UptaneError: the client would refuse it.
    """
    ending = codec.extension
    known = {
        role: live[f"{role}.{ending}"]
        for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)
        if f"{role}.{ending}" in live
    }
    known.setdefault(ROOT, files[f"1.{ROOT}.{ending}"])
    store = _Memory(known, _floors(known, codec))
    Refresh(IMAGE, codec, rules, lambda _, name, most: files.get(name), store, now_s=now_s).run()
    for role in targets_roles(documents)[1:]:
        document = documents[role]
        for each in authorities(documents, role):
            judge_signatures(
                document.message, document.signatures, each.keys, each.who, repository=IMAGE, role=role
            )
            if document.expires_s <= now_s:
                raise ExpiredMetadata(f"{role} has expired", repository=IMAGE, role=role)


def _floors(known: Mapping[str, bytes], codec: Codec) -> Floors:
    """What a client that has this would never go below."""
    if TIMESTAMP not in known or SNAPSHOT not in known:
        return NO_FLOORS
    snapshot = codec.decode(known[SNAPSHOT]).body
    timestamp = codec.decode(known[TIMESTAMP])
    if not isinstance(snapshot, Snapshot) or not isinstance(timestamp.body, Timestamp):
        return NO_FLOORS
    listed = tuple(sorted((role, facts.version or 0) for role, facts in snapshot.files.items()))
    return Floors(timestamp.version, timestamp.body.snapshot.version or 0, listed)


class _Memory:
    """A client's store that forgets."""

    def __init__(self, known: Mapping[str, bytes], floors: Floors) -> None:
        self._files = dict(known)
        self._floors = floors

    def load(self, repository: str, role: str) -> bytes | None:
        return self._files.get(role)

    def save(self, repository: str, role: str, raw: bytes) -> None:
        self._files[role] = raw

    def keep_root(self, repository: str, version: int, raw: bytes) -> None:
        """The chain is not handed on."""

    def roots(self, repository: str) -> Mapping[int, bytes]:
        return {}

    def forget(self, repository: str, role: str) -> None:
        self._files.pop(role, None)

    def floors(self, repository: str) -> Floors:
        return self._floors

    def save_floors(self, repository: str, floors: Floors) -> None:
        self._floors = floors
