"""Names of targets: which may become file names, and which a delegation speaks of (Standard §5.2.7, §5.4.4.8)."""

import re
from fnmatch import translate
from functools import lru_cache

from .errors import InvalidTarget
from .metadata import Delegation, HashBins

PATH_MAX = 1024  # characters
_DRIVE = re.compile(r"[A-Za-z]:")


def judge(path: str, *, repository: str = "") -> str:
    """A target's path, if it names a file below the targets folder and nothing else.

    Raises:
        InvalidTarget: it is empty, absolute, too long, or has a part that leads elsewhere.
    """
    parts = path.split("/")
    why = ""
    if not path or len(path) > PATH_MAX:
        why = "is empty or too long"
    elif any(char < " " or char in "\\\x7f" for char in path):
        why = "holds a backslash or a control character"
    elif path.startswith("/") or _DRIVE.match(path):
        why = "is absolute"
    elif any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts):
        why = "has a part that is empty, '.', '..' or too long"
    if why:
        raise InvalidTarget(
            f"the target name {path[:80]!r} {why}",
            repository=repository,
            role="targets",
            expected="a plain relative path",
            found=path[:80],
        )
    return path


def speaks_of(entry: Delegation, path: str, *, wildcards_cross_slash: bool) -> bool:
    """Whether a delegation is about images of this name."""
    if entry.hash_prefixes is not None:
        digest = path_digest(path)
        return any(prefix and digest.startswith(prefix) for prefix in entry.hash_prefixes)
    return any(
        matches(path, pattern, wildcards_cross_slash=wildcards_cross_slash) for pattern in entry.paths or ()
    )


def matches(path: str, pattern: str, *, wildcards_cross_slash: bool) -> bool:
    """Whether a shell pattern matches a path, part by part or as one text."""
    if wildcards_cross_slash:
        return _compiled(pattern).match(path) is not None
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(
        _compiled(one).match(part) is not None for part, one in zip(parts, patterns, strict=True)
    )


def bin_of(bins: HashBins, path: str) -> str:
    """Name of the role that describes a path (TAP 15)."""
    number = int(path_digest(path)[:8], 16) >> (32 - bins.bits)
    return f"{bins.prefix}-{number:0{(bins.bits + 3) // 4}x}"


def path_digest(path: str) -> str:
    """Hex SHA-256 of a path."""
    from swagent.crypto.digest import sha256

    return sha256(path.encode()).hexdigest()


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))  # its wildcards are atomic groups: no catastrophic backtracking
