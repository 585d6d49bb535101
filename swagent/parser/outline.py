"""What a description offers, to whom: boards, software sets and modes."""

from typing import Any, NamedTuple

from swagent.errors import DescriptionError

from .describe import GLOBALS, SECTIONS, SIZE_MAX_BYTES, check_root, read_tree
from .select import Document

_NAMES_MAX = 200


class Outline(NamedTuple):
    """The choices that a description leaves.

    Attributes:
        version: of the release, "" when only boards or selections have one.
        description: free text.
        boards: names of boards that have entries of their own.
        selections: as ``set,mode``, each once, in the document's order.
        board_selections: board to its selections; "" for those of every board.
    """

    version: str
    description: str
    boards: tuple[str, ...]
    selections: tuple[str, ...]
    board_selections: dict[str, tuple[str, ...]]


def outline(text: bytes, *, root: str = "software", size_max_bytes: int = SIZE_MAX_BYTES) -> Outline:
    """List what can be chosen in a description; looks at names only, so an entry that is wrong does not matter.

    A group with entries in it is a board at depth one, a mode of a software set at depth two, and a mode of a set of
    a board at depth three. Groups that others only link to look the same.

    Raises:
        DescriptionError: neither libconfig nor JSON, too large, or without its outermost group.
    """
    tree, _ = read_tree(text, size_max_bytes=size_max_bytes)
    check_root(tree, root)
    return outline_of(tree, root)


def outline_of(tree: dict[str, Any], root: str) -> Outline:
    """As ``outline``, of a document already read."""
    document = Document(tree, root=root, hardware=None, selection=None, lone_groups=True)
    top = _groups(document, (root,))
    boards: dict[str, None] = {}
    selections: dict[str, dict[str, None]] = {}
    for first in top:
        if _has_entries(document, (root, first)):
            boards[first] = None
        for second in _groups(document, (root, first)):
            if _has_entries(document, (root, first, second)):
                selections.setdefault("", {})[f"{first},{second}"] = None
            for third in _groups(document, (root, first, second)):
                if _has_entries(document, (root, first, second, third)):
                    boards[first] = None
                    selections.setdefault(first, {})[f"{second},{third}"] = None
    return Outline(
        version=_text(tree[root], "version"),
        description=_text(tree[root], "description"),
        boards=tuple(boards),
        selections=tuple(dict.fromkeys(name for names in selections.values() for name in names)),
        board_selections={board: tuple(names) for board, names in selections.items()},
    )


def _group(document: Document, path: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = document.walk(path)
    except DescriptionError:
        return {}  # a broken link is an error for those who need it; here it offers nothing
    return found[0] if found is not None and isinstance(found[0], dict) else {}


def _groups(document: Document, path: tuple[str, ...]) -> list[str]:
    group = document.at(path)  # as it is written: links on the way to a mode are not followed
    names = (
        [name for name, value in group.items() if isinstance(value, dict)] if isinstance(group, dict) else []
    )
    return [name for name in names if name not in SECTIONS and name not in GLOBALS][:_NAMES_MAX]


def _has_entries(document: Document, path: tuple[str, ...]) -> bool:
    return not SECTIONS.isdisjoint(_group(document, path))


def _text(group: dict[str, Any], key: str) -> str:
    value = group.get(key)
    return value[:511] if isinstance(value, str) else ""
