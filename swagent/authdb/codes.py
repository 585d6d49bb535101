"""The numbers by which the original tool told what happens (authorization db §8), made of our events in one place."""

from collections.abc import Mapping
from typing import Any

from swagent.events import Event

EV_START = 0x3001
EV_UPGRADE = 0x3002
EV_NETWORK_ERROR = 0x3003
EV_INIT_SUCCESS = 0x3008
EV_INIT_ERROR = 0x3009
EV_BURNPARTITION = 0x300A
EV_BURNIMAGE = 0x300B
EV_UPGRADE_FAILED = 0x300C
EV_ERROR = 0x300D
EV_COMPLETE = 0x300E
EV_LOW_POWER = 0x300F
EV_USERDATA_ERROR_SKIP = 0x3010
EV_USERDATA_ERROR_MANDATORY = 0x3011
EV_AUTH_DB_LOST = 0x4001
EV_AUTH_DB_ERROR = 0x4002
EV_VERIFY_DATA = 0x4003
EV_DATA_NOT_MATCH = 0x4004
EV_AUTH_PASS = 0x4005

_BY_EVENT = {
    "daemon.ready": EV_START,
    "update.started": EV_UPGRADE,
    "update.planned": EV_INIT_SUCCESS,
    "update.writing": EV_BURNIMAGE,
    "userdata.skipped": EV_USERDATA_ERROR_SKIP,
    "userdata.forced": EV_USERDATA_ERROR_MANDATORY,
    "authorization.checking": EV_VERIFY_DATA,
    "authorization.done": EV_AUTH_PASS,
}
_BY_REASON = {
    "missing": EV_AUTH_DB_LOST,
    "database": EV_AUTH_DB_ERROR,
    "no-datum": EV_DATA_NOT_MATCH,
    "mismatch": EV_DATA_NOT_MATCH,
}
_BY_RESULT = {
    "installed": EV_COMPLETE,
    "refused": EV_INIT_ERROR,
    "failed": EV_ERROR,
    "cancelled": EV_ERROR,
}
_BY_ERROR = {
    "TransportError": EV_NETWORK_ERROR,
    "PowerRefused": EV_LOW_POWER,
}


def code_of(event: Event) -> int | None:
    """The number of an event, None for those that the original did not have."""
    if event.event == "authorization.failed":
        return _BY_REASON.get(event.facts.get("reason", ""))
    if event.event == "update.verdict":
        return _of_verdict(event.facts)
    if event.event == "artifact.started":
        return EV_BURNPARTITION if event.facts.get("forced") else None
    if event.event == "artifact.failed":
        return EV_UPGRADE_FAILED if event.facts.get("user_data") else None
    return _BY_EVENT.get(event.event)


def _of_verdict(facts: Mapping[str, Any]) -> int | None:
    error = facts.get("error") or {}
    result = facts.get("result", "")
    if result != "installed" and error.get("class") in _BY_ERROR:
        return _BY_ERROR[error["class"]]
    return _BY_RESULT.get(result)
