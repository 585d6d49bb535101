"""What a hawkBit says, read with suspicion (runtime interfaces §5.2; hawkBit's Direct Device Integration API)."""

import json
import re
from typing import Any, NamedTuple

from swagent.errors import TransportError

ANSWER_BYTES_MAX = 1024 * 1024
_CHUNKS_MAX, _ARTIFACTS_MAX = 64, 256
_TEXT_MAX = 512
_SLEEP = re.compile(r"([0-9]{1,3}):([0-5]?[0-9]):([0-5]?[0-9])\Z")
_HEX = {
    name: re.compile(rf"[0-9a-fA-F]{{{2 * n}}}\Z") for name, n in (("sha256", 32), ("sha1", 20), ("md5", 16))
}
_WORDS = ("skip", "attempt", "forced")
UNUSUAL_SLEEP_S = 45


class Visit(NamedTuple):
    """The answer to a poll.

    Attributes:
        sleep_s: until the next one.
        config_data: whether it wants to know about the unit.
        cancel: address of what is to be cancelled, "" for nothing.
        deployment: address of what is to be done, "" for nothing.
    """

    sleep_s: int
    config_data: bool
    cancel: str
    deployment: str


class Cancel(NamedTuple):
    """What is to be cancelled."""

    action: str
    stop_id: str


class File(NamedTuple):
    """An artifact, in hawkBit's sense.

    Attributes:
        hashes: algorithm to hex.
        url: where it is.
    """

    name: str
    size_bytes: int
    hashes: dict[str, str]
    url: str


class Chunk(NamedTuple):
    """A software module."""

    part: str
    version: str
    name: str
    files: tuple[File, ...]


class Deployment(NamedTuple):
    """What is to be done.

    Attributes:
        download, update: ``skip``, ``attempt`` or ``forced``.
        window: ``available`` or ``unavailable``, "" where there is no maintenance window.
    """

    action: str
    download: str
    update: str
    window: str
    chunks: tuple[Chunk, ...]


class BadAnswer(TransportError):
    """The server's answer makes no sense."""


class BadDeployment(BadAnswer):
    """It cannot be done as it is.

    Attributes:
        action: what the server calls it, so that it can be told.
    """

    def __init__(self, message: str, action: str) -> None:
        super().__init__(message)
        self.action = action


def read_visit(data: bytes) -> Visit:
    """The answer to a poll.

    Raises:
        BadAnswer: it makes no sense.
    """
    tree = _tree(data)
    sleep = _group(_group(tree, "config"), "polling").get("sleep")
    found = _SLEEP.match(sleep) if isinstance(sleep, str) else None
    if found is None:
        raise BadAnswer(f"hawkBit's config.polling.sleep is {str(sleep)[:40]!r}, not HH:MM:SS")
    hours, minutes, seconds = (int(number) for number in found.groups())
    links = tree.get("_links", {})
    if not isinstance(links, dict):
        raise BadAnswer("hawkBit's _links are no object")
    return Visit(
        hours * 3600 + minutes * 60 + seconds or UNUSUAL_SLEEP_S,
        "configData" in links,
        _link(links, "cancelAction"),
        _link(links, "deploymentBase"),
    )


def read_cancel(data: bytes) -> Cancel:
    """What is to be cancelled.

    Raises:
        BadAnswer: it makes no sense.
    """
    tree = _tree(data)
    action = _identifier(tree, "id")
    return Cancel(action, _identifier(_group(tree, "cancelAction"), "stopId", action))


def read_deployment(data: bytes) -> Deployment:
    """What is to be done.

    Raises:
        BadDeployment: it cannot be done as it is.
        BadAnswer: not even its number is there.
    """
    tree = _tree(data)
    action = _identifier(tree, "id")
    try:
        return _deployment(tree, action)
    except BadDeployment:
        raise
    except BadAnswer as exc:
        raise BadDeployment(exc.message, action) from exc


def _deployment(tree: dict[str, Any], action: str) -> Deployment:
    deployment = _group(tree, "deployment")
    words = []
    for key in ("download", "update"):
        word = deployment.get(key, "skip")
        if word not in _WORDS:
            raise BadAnswer(f"hawkBit's deployment.{key} is {str(word)[:40]!r}, not {', '.join(_WORDS)}")
        words.append(word)
    window = deployment.get("maintenanceWindow", "")
    if window not in ("", "available", "unavailable"):
        raise BadAnswer(f"hawkBit's maintenanceWindow is {str(window)[:40]!r}")
    chunks = tuple(_chunk(chunk) for chunk in _list(deployment, "chunks", _CHUNKS_MAX))
    return Deployment(action, words[0], words[1], window, chunks)


def _chunk(tree: object) -> Chunk:
    if not isinstance(tree, dict):
        raise BadAnswer("a chunk of hawkBit's deployment is no object")
    part, version, name = (_text(tree, key) for key in ("part", "version", "name"))
    files = tuple(_file(file) for file in _list(tree, "artifacts", _ARTIFACTS_MAX))
    return Chunk(part, version, name, files)


def _file(tree: object) -> File:
    if not isinstance(tree, dict):
        raise BadAnswer("an artifact of hawkBit's deployment is no object")
    name, size = _text(tree, "filename"), tree.get("size")
    if "/" in name or name.startswith(".") or not name.isprintable():
        raise BadAnswer(f"an artifact of hawkBit has a name that no file has: {name[:80]!r}")
    if type(size) is not int or not 0 <= size < 2**63:
        raise BadAnswer(f"the size of {name} is no number that can be")
    hashes: dict[str, str] = {}
    for algorithm, value in _group(tree, "hashes").items():
        if algorithm in _HEX:
            if not isinstance(value, str) or not _HEX[algorithm].match(value):
                raise BadAnswer(f"the {algorithm} of {name} is none")
            hashes[algorithm] = value.lower()
    if not hashes:
        raise BadAnswer(f"{name} has no hash")
    links = _group(tree, "_links")
    url = _link(links, "download") or _link(links, "download-http")
    if not url:
        raise BadAnswer(f"{name} has no address to download it from")
    return File(name, size, hashes, url)


def _tree(data: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadAnswer(f"what hawkBit answers is no JSON: {data[:40]!r}") from exc
    if not isinstance(tree, dict):
        raise BadAnswer("what hawkBit answers is no object of JSON")
    return tree


def _group(tree: dict[str, Any], key: str) -> dict[str, Any]:
    group = tree.get(key)
    if not isinstance(group, dict):
        raise BadAnswer(f"hawkBit's answer has no {key}")
    return group


def _list(tree: dict[str, Any], key: str, at_most: int) -> list[Any]:
    items = tree.get(key)
    if not isinstance(items, list) or len(items) > at_most:
        raise BadAnswer(f"hawkBit's {key} are no list, or one of more than {at_most}")
    return items


def _text(tree: dict[str, Any], key: str) -> str:
    text = tree.get(key)
    if not isinstance(text, str) or not text or len(text) > _TEXT_MAX:
        raise BadAnswer(f"hawkBit's answer has no {key}, or one that is too long")
    return text


def _identifier(tree: dict[str, Any], key: str, default: str = "") -> str:
    """A number, as a number or as a text."""
    value = tree.get(key, default)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadAnswer(f"hawkBit's {key} is {str(value)[:40]!r}, which is no number")
    return text


def _link(links: dict[str, Any], name: str) -> str:
    if name not in links:
        return ""
    link = links[name]
    href = link.get("href") if isinstance(link, dict) else None
    if not isinstance(href, str) or not href.lower().startswith(("http://", "https://")):
        raise BadAnswer(f"hawkBit's link {name} leads nowhere")
    return href
