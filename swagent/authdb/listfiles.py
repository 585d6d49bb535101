"""Lists as people keep them: a record a line, or a column of a table in CSV. Read line by line, as often as asked."""

import os
import stat
from collections.abc import Callable, Iterator

from swagent.errors import MetadataError, SettingsError

_LINE_CHARS_MAX = 65536


def check_file(path: str) -> None:
    """A list is read twice, so it must be a file that can be.

    Raises:
        SettingsError: it is not there, or is none.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise SettingsError(f"cannot read the list {path}: {reason}") from exc
    if not stat.S_ISREG(mode):
        raise SettingsError(f"the list {path} is no regular file", hint="save it first: it is read twice")


def records(path: str, name: str) -> Iterator[bytes]:
    """The records in a file, without the blanks around them; empty lines are none.

    Args:
        path: of a text file; of a table when it ends with ``.csv``.
        name: of the list: a table's column of this name is taken, or the first one when its first row has no such name.

    Raises:
        SettingsError: it cannot be read.
        MetadataError: it is no text in UTF-8, or a line is endless.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = _lines(file.readline, path)
            for text in _column(lines, name, path) if path.lower().endswith(".csv") else lines:
                if record := text.strip():
                    yield record.encode()
    except OSError as exc:
        raise SettingsError(f"cannot read the list {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise MetadataError(f"the list {path} is no text in UTF-8") from exc


def _lines(readline: Callable[[int], str], path: str) -> Iterator[str]:
    while line := readline(_LINE_CHARS_MAX):
        if len(line) == _LINE_CHARS_MAX:
            raise MetadataError(f"a line of {path} has more than {_LINE_CHARS_MAX} characters")
        yield line


def _column(lines: Iterator[str], name: str, path: str) -> Iterator[str]:
    import csv

    column = None
    try:
        for row in csv.reader(lines):
            if column is None:
                head = [cell.strip() for cell in row]
                column = head.index(name) if name in head else 0
                if name in head:
                    continue
            if len(row) > column:
                yield row[column]
    except csv.Error as exc:
        raise MetadataError(f"{path} is no table: {exc}") from exc
