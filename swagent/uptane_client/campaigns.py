"""Campaigns of aktualizr's back end: what it offers, outside of Uptane; an answer is an event (uptane §6)."""

import json
from typing import Any, NamedTuple, TypeGuard

from swagent.errors import MetadataError

CAMPAIGNS_MAX = 1000
LIST_MAX_BYTES = 1024 * 1024
ID_MAX = 256
ANSWERS = {"accept": "campaign_accepted", "decline": "campaign_declined", "postpone": "campaign_postponed"}
"""Verb to the type of event that says so."""


class Campaign(NamedTuple):
    """What is offered.

    Attributes:
        size_bytes: of what would be fetched, 0 when the server does not say.
        auto_accept: whether nobody need say yes.
        description: for people, may be empty.
        installation_s: how long the installation will take, 0 when the server does not say.
        preparation_s: the same of what comes before it.
    """

    id: str
    name: str
    size_bytes: int = 0
    auto_accept: bool = False
    description: str = ""
    installation_s: int = 0
    preparation_s: int = 0


def read_campaigns(raw: bytes) -> tuple[tuple[Campaign, ...], int]:
    """Read the server's list.

    Returns:
        The campaigns, and how many others make no sense.

    Raises:
        MetadataError: it is no such list.
    """
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise MetadataError("the list of campaigns is no JSON") from exc
    listed = tree.get("campaigns") if isinstance(tree, dict) else None
    if not isinstance(listed, list) or len(listed) > CAMPAIGNS_MAX:
        raise MetadataError("the list of campaigns makes no sense")
    found = [_campaign(each) for each in listed]
    good = tuple(campaign for campaign in found if campaign is not None)
    return good, len(found) - len(good)


def _campaign(tree: Any) -> Campaign | None:
    """None for what makes no sense."""
    if not isinstance(tree, dict):
        return None
    name, identifier = tree.get("name"), tree.get("id")
    size, auto = tree.get("size", 0), tree.get("autoAccept", False)
    texts = _metadata(tree.get("metadata", []))
    if texts is None or not (_is_word(identifier) and _is_word(name) and isinstance(auto, bool)):
        return None
    installation = _number(texts.get("ESTIMATED_INSTALLATION_DURATION", "0"))
    preparation = _number(texts.get("ESTIMATED_PREPARATION_DURATION", "0"))
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        return None
    if installation is None or preparation is None:
        return None
    return Campaign(identifier, name, size, auto, texts.get("DESCRIPTION", ""), installation, preparation)


def _metadata(listed: Any) -> dict[str, str] | None:
    if not isinstance(listed, list):
        return None
    texts: dict[str, str] = {}
    for each in listed:
        if not isinstance(each, dict):
            return None
        kind, value = each.get("type"), each.get("value")
        if not (isinstance(kind, str) and isinstance(value, str)) or kind in texts:
            return None
        texts[kind] = value
    return texts


def _is_word(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= ID_MAX


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
