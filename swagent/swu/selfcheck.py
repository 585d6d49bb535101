"""Is a finished description one that an installer understands, whatever it is asked to install?"""

from collections.abc import Collection, Iterator

from swagent.errors import DescriptionError, SwagentError
from swagent.model import Artifact, Hardware, Selection
from swagent.parser import SIZE_MAX_BYTES, outline, parse_with_warnings
from swagent.parser.describe import SECTIONS, read_tree

_ROOT = "software"


def check(description: bytes, members: Collection[str]) -> tuple[str, ...]:
    """Read a description for every board and selection that it has something for.

    Args:
        description: the text, not encrypted.
        members: names of what goes into the archive.

    Returns:
        The parser's warnings, each once.

    Raises:
        DescriptionError: for one of them it cannot be understood; the message says for which.
    """
    warnings: dict[str, None] = {}
    for hardware, selection in _asked(description):
        try:
            found, notes = parse_with_warnings(description, hardware=hardware, selection=selection)
        except SwagentError as exc:
            words = ([f"-H {hardware.board}:*"] if hardware else []) + (
                [f"-e {selection}"] if selection else []
            )
            asked = f" (with {' '.join(words)})" if words else ""
            raise DescriptionError(exc.message + asked, artifact=exc.artifact, hint=exc.hint) from exc
        warnings.update(dict.fromkeys(notes))
        for artifact in (*found.installables, *found.scripts):
            _check_artifact(artifact, members)
    return tuple(warnings)


def _asked(description: bytes) -> Iterator[tuple[Hardware | None, Selection | None]]:
    offered = outline(description)
    tree, _ = read_tree(description, size_max_bytes=SIZE_MAX_BYTES)
    asked: list[tuple[Hardware | None, Selection | None]] = []
    if not (SECTIONS - {"vars"}).isdisjoint(tree[_ROOT]):  # vars alone are nothing to install
        asked.append((None, None))
    asked += [(None, _selection(words)) for words in offered.board_selections.get("", ())]
    for board in offered.boards:
        hardware = Hardware(board, "")
        own = offered.board_selections.get(board, ())
        if not own:
            asked.append((hardware, None))
        asked += [(hardware, _selection(words)) for words in own]
    # nothing offered: let the parser say so
    return iter(asked or [(None, None)])


def _selection(words: str) -> Selection:
    software_set, _, mode = words.partition(",")
    return Selection(software_set, mode)


def _check_artifact(artifact: Artifact, members: Collection[str]) -> None:
    if artifact.filename and (artifact.filename not in members or artifact.sha256 is None):
        raise DescriptionError(
            f"{artifact.where}: its member or digest could not be put in", artifact=artifact.filename
        )
