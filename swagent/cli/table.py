"""Lists as tables: a heading, columns as wide as they must be, empty columns left out."""

from collections.abc import Sequence
from typing import TextIO

from .units import clean, columns, pad


def print_table(out: TextIO, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a heading; a column without a single value is not shown."""
    shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
    lines = [[head[i] for i in shown], *([clean(row[i]) for i in shown] for row in rows)]
    widths = [max(columns(line[i]) for line in lines) for i in range(len(shown))]
    for line in lines:
        cells = [pad(cell, width) for cell, width in zip(line, widths, strict=True)]
        out.write("  ".join(cells).rstrip() + "\n")
