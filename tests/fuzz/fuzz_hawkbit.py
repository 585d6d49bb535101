"""What a hawkBit answers, and the ledger: polls, cancels, deployments."""

import json
from contextlib import suppress

from swagent.suricatta.ddi import BadAnswer, read_cancel, read_deployment, read_visit
from swagent.suricatta.ledger import Entry, read_entry


def one_input(data: bytes) -> None:
    """The first byte says what it is."""
    kind, data = data[:1], data[1:]
    if kind == b"l":
        with suppress(ValueError):
            entry = read_entry(data)
            assert entry.position >= 0 and bool(entry.finished) is (entry.stage.value == "closing")
        return
    with suppress(BadAnswer):
        if kind == b"v":
            assert read_visit(data).sleep_s > 0
        elif kind == b"c":
            assert read_cancel(data).action.isdigit()
        else:
            for chunk in read_deployment(data).chunks:
                for file in chunk.files:
                    assert "/" not in file.name and file.hashes and file.size_bytes >= 0


def seeds() -> list[bytes]:
    """Answers as hawkBit gives them."""
    file = {
        "filename": "update.swu",
        "size": 3,
        "hashes": {"sha1": "0" * 40, "sha256": "0" * 64, "md5": "0" * 32},
        "_links": {"download-http": {"href": "http://h/x"}, "md5sum-http": {"href": "http://h/x.MD5SUM"}},
    }
    chunk = {"part": "os", "version": "1", "name": "n", "artifacts": [file]}
    deployment = {
        "download": "forced",
        "update": "skip",
        "maintenanceWindow": "unavailable",
        "chunks": [chunk],
    }
    links = {
        "deploymentBase": {"href": "http://h/d?c=1"},
        "cancelAction": {"href": "http://h/c"},
        "configData": {},
    }
    ledger = {**Entry("s", "1")._asdict(), "stage": "taken", "format": 1}
    return [
        b"v" + json.dumps({"config": {"polling": {"sleep": "00:05:00"}}, "_links": links}).encode(),
        b"c" + json.dumps({"id": "1", "cancelAction": {"stopId": 1}}).encode(),
        b"d" + json.dumps({"id": "1", "deployment": deployment}).encode(),
        b"l" + json.dumps(ledger).encode(),
    ]
