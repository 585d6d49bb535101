"""Comparing versions as SWUpdate does (swu format §3; upstream core/artifacts_versions.c, core/semver.c).

Also constraints such as ``>=2,<3``, which are ours.
"""

import re

_NUMERIC_FIELD_MAX = 65535
_NUMERIC_DIGITS_MAX = 5  # what is longer is above it; int() refuses some thousand digits
_SEMVER_LENGTH_MAX = 255
_NUMERIC = re.compile(r"[0-9.]*\Z")
_CLAUSE = re.compile(r"\s*(>=|>|<=|<|=|!=)?\s*([0-9A-Za-z.+_~:-]+)\s*\Z", re.ASCII)
_SEMVER = re.compile(r"[0-9A-Za-z.+-]+\Z")


def compare(a: str, b: str) -> int:
    """Order two versions: negative, 0 or positive as ``a`` is lower than, equal to or higher than ``b``.

    Numbers of up to four fields, else lax semver, else bytes. Long numbers are not cut to 32 bits as upstream does.
    """
    for parse in (_numeric, _semver):
        left, right = parse(a), parse(b)
        if left is not None and right is not None:
            return (left > right) - (left < right)
    raw_a, raw_b = a.encode(), b.encode()
    return (raw_a > raw_b) - (raw_a < raw_b)


def read_constraint(text: str) -> tuple[tuple[str, str], ...]:
    """Read a constraint: comparisons that must all hold, with commas between them, as in ``>=2.1, <3``.

    Args:
        text: each is ``>=``, ``>``, ``<=``, ``<``, ``=`` or ``!=`` and a version; a version alone means ``=``.

    Returns:
        operator and version of each.

    Raises:
        ValueError: it is not of that form; the message is a part of a sentence.
    """
    clauses = []
    for part in text.split(","):
        match = _CLAUSE.match(part)
        if match is None:
            raise ValueError(f"{part.strip()[:40]!r} is not a comparison such as >=1.2")
        clauses.append((match[1] or "=", match[2]))
    return tuple(clauses)


def satisfies(version: str, clauses: tuple[tuple[str, str], ...]) -> bool:
    """Whether a version meets every comparison of a constraint."""
    for operator, bound in clauses:
        order = compare(version, bound)
        if not {
            ">=": order >= 0,
            ">": order > 0,
            "<=": order <= 0,
            "<": order < 0,
            "=": order == 0,
            "!=": order != 0,
        }[operator]:
            return False
    return True


def _numeric(text: str) -> tuple[object, ...] | None:
    if not _NUMERIC.match(text):
        return None
    parts = [part.lstrip("0") for part in text.split(".") if part][:4]
    if any(len(part) > _NUMERIC_DIGITS_MAX for part in parts):
        return None
    fields = [int(part or "0") for part in parts]
    if any(value > _NUMERIC_FIELD_MAX for value in fields):
        return None
    return tuple(fields + [0] * (4 - len(fields)))


def _semver(text: str) -> tuple[object, ...] | None:
    if len(text) > _SEMVER_LENGTH_MAX or not _SEMVER.match(text):
        return None
    core, _, prerelease = text.partition("+")[0].partition("-")
    parts = core.split(".")
    fields = []
    for part in parts[:3]:
        if part and not part.isdigit():
            return None
        fields.append(int(part or "0"))
    fields += [0] * (3 - len(fields))
    if not prerelease:
        return (*fields, (1,))
    # a release is above its pre-releases; numbers are below words; fewer identifiers below more
    keys = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in prerelease.split("."))
    return (*fields, (0, keys))
