"""Finding what holds for one board and selection (swu format §2.5), through ``ref`` links (§2.6)."""

from collections.abc import Iterator
from typing import Any

from swagent.errors import DescriptionError
from swagent.model import Hardware, Selection

_CHAIN_MAX = 9  # look-ups from a link to what it finally means, as upstream
_PATH_MAX = 20
_ELEMENTS_MAX = 65536  # entries of one section, links counted

Path = tuple[str, ...]


class Document:
    """A parsed description, seen from one board with one selection.

    Args:
        tree: the outermost group.
        root: name of the group that describes the software.
        hardware: the unit, None when it is not known.
        selection: software set and mode, None when nothing is selected.
        lone_groups: whether a section may be one group instead of a list of groups, as in JSON.
    """

    def __init__(
        self,
        tree: dict[str, Any],
        *,
        root: str,
        hardware: Hardware | None,
        selection: Selection | None,
        lone_groups: bool,
    ) -> None:
        self.tree = tree
        self.root = root
        self.lone_groups = lone_groups
        self.bases = _bases(root, hardware.board if hardware else "", selection)

    def find(self, name: str) -> tuple[Any, Path] | None:
        """The value of an attribute or section, and its path; from the most special place that has it.

        Raises:
            DescriptionError: a link on the way leads nowhere.
        """
        for base in self.bases:
            group = self.walk(base)
            found = self.walk((*group[1], name)) if group is not None else None
            if found is not None:
                return found
        return None

    def at(self, path: Path) -> Any:
        """What stands at a path as it is written, links not followed; None if nothing does."""
        node: Any = self.tree
        for word in path:
            if not isinstance(node, dict):
                return None
            node = node.get(word)
        return node

    def walk(self, path: Path) -> tuple[Any, Path] | None:
        """What stands at a path, and where it really stands when it is a link; None if nothing does.

        Only the end of the path is looked at for a link, as upstream does.

        Raises:
            DescriptionError: a link leads nowhere, or in a circle.
        """
        node = self.at(path)
        for _ in range(_CHAIN_MAX):
            if not isinstance(node, dict) or "ref" not in node:
                return None if node is None else (node, path)
            target = _target(node["ref"], path, ".".join(path))
            if (linked := self.at(target)) is None:
                raise _dangling(node["ref"], target, ".".join(path))
            node, path = linked, target
        raise DescriptionError(
            f"sw-description: {'.'.join(path)}: the ref links here lead in a circle, or through {_CHAIN_MAX} places"
        )

    def elements(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The entries of a section, links replaced by the entries they mean; with a place for messages each.

        Raises:
            DescriptionError: the section is not a list of groups, or a link leads nowhere or in a circle.
        """
        found = self.find(name)
        if found is None:
            return
        budget = [_ELEMENTS_MAX]
        yield from self._expand(name, found[0], found[1], (), budget)

    def _expand(
        self, label: str, node: Any, path: Path, inside: tuple[Path, ...], budget: list[int]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(node, dict) and self.lone_groups:
            node = [node]
        if not isinstance(node, list | tuple):
            raise DescriptionError(
                f"sw-description: {label} is not a list of entries",
                hint="write ( { ... }, { ... } ), in JSON [ { ... }, { ... } ]",
            )
        if path in inside or len(inside) >= _CHAIN_MAX:
            raise DescriptionError(f"sw-description: {label}: the ref links in it lead in a circle")
        for index, element in enumerate(node):
            budget[0] -= 1
            if budget[0] < 0:
                raise DescriptionError(f"sw-description: {label}: more than {_ELEMENTS_MAX} entries")
            place = f"{label}[{index}]"
            if not isinstance(element, dict):
                raise DescriptionError(f"sw-description: {place} is not a group {{ }} of attributes")
            if "ref" in element:
                target = _target(element["ref"], path, place)
                found = self.walk(target)
                if found is None:
                    raise _dangling(element["ref"], target, place)
                yield from self._expand(".".join(found[1]), *found, (*inside, path), budget)
            else:
                yield place, element


def _bases(root: str, board: str, selection: Selection | None) -> tuple[Path, ...]:
    """Where to look, from the most special place to the most general one."""
    bases: list[Path] = []
    if selection and selection.software_set and selection.mode:
        chosen = (selection.software_set, selection.mode)
        if board:
            bases.append((root, board, *chosen))
        bases.append((root, *chosen))
    if board:
        bases.append((root, board))
    bases.append((root,))
    return tuple(bases)


def _target(ref: object, holder: Path, place: str) -> Path:
    """The path that a link means; relative ones start at the parent of ``holder``."""
    words = [word for word in ref[1:].split("/") if word] if isinstance(ref, str) else []
    if not isinstance(ref, str) or not ref.startswith("#") or len(ref) < 3 or not words:
        raise DescriptionError(
            f"sw-description: {place}: {str(ref)[:80]!r} is not a link",
            hint='write ref = "#./name" or "#../name"',
        )
    path = list(holder[:-1]) if words[0] in (".", "..") else []
    for word in words:
        if word == "..":
            if not path:
                raise DescriptionError(f"sw-description: {place}: {ref[:80]!r} leads out of the document")
            path.pop()
        elif word != ".":
            path.append(word)
    if len(path) > _PATH_MAX:
        raise DescriptionError(f"sw-description: {place}: {ref[:80]!r} is more than {_PATH_MAX} levels long")
    return tuple(path)


def _dangling(ref: object, target: Path, place: str) -> DescriptionError:
    return DescriptionError(
        f"sw-description: {place}: ref = {str(ref)[:80]!r} leads to {'.'.join(target)!r}, which is not there"
    )
