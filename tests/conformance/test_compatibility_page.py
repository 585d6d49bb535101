"""The compatibility page and the tables of this room tell the same differences."""

import re

from tests.programs import PROJECT

from . import (
    test_archives,
    test_command_line,
    test_deltas,
    test_description,
    test_entries,
    test_generators,
    test_lua,
    test_partitions,
    test_scripts,
)

PAGE = PROJECT / "docs" / "reference" / "compatibility.md"


def plain(topic: str) -> str:
    return topic.replace("`", "").strip()


def told() -> list[str]:
    """First cells of all rows of the page's tables, without the headings."""
    rows = re.findall(r"^\| ([^|]+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [plain(row) for row in rows if row != "topic"]


def test_every_difference_has_its_row_and_every_row_its_difference() -> None:
    found = {
        *(case.differs for case in (*test_archives.CASES, *test_description.CASES)),
        *(case.differs for case in (*test_deltas.CASES, *test_entries.CASES, *test_scripts.CASES)),
        *(case.differs for case in test_lua.CASES),
        *(line.differs for line in test_command_line.LINES),
        *(image.differs for image in test_generators.IMAGES),
        *(row.differs for row in test_partitions.ROWS),
    }
    assert len(told()) == len(set(told())), "a topic has two rows"
    assert set(told()) == {plain(topic) for topic in found if topic}


def test_the_rows_are_in_order() -> None:
    for table in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        topics = [
            plain(row).casefold()
            for row in re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)
            if row != "topic"
        ]
        assert topics == sorted(topics)
