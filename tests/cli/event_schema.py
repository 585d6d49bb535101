"""Reads the tables of docs/reference/events.md and holds lines against them."""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "list": (list,),
    "null": (type(None),),
}

Keys = dict[str, tuple[str, bool]]  # key -> (type, required)


def tables() -> dict[str, Keys]:
    """Event or object name -> its keys."""
    found: dict[str, Keys] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if len(cells) != 5 or cells[0] in ("event", "object") or set(cells[0]) == {"-"}:
            continue
        keys = found.setdefault(cells[0], {})
        if cells[1]:
            keys[cells[1]] = (cells[2].replace("\\|", "|"), cells[3] == "yes")
    return found


def problems(line: str) -> list[str]:
    """What is wrong with a line of ``--json``; empty when it follows the page."""
    page = tables()
    record = json.loads(line)
    name = record["event"]
    if name not in page:
        return [f"{name} is not on the page"]
    keys = page["*"] | page[name]
    wrong = _against(record, keys, name)
    for entry in record.get("entries", []) + record.get("scripts", []):
        wrong += _against(entry, page["entries"], f"{name} entry")
    if record.get("error"):
        wrong += _against(record["error"], page["error"], f"{name} error")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]):
        wrong.append(f"time {record['time']}")
    return wrong


def _against(record: dict[str, Any], keys: Keys, what: str) -> list[str]:
    wrong = [f"{what}: no {key}" for key, (_, required) in keys.items() if required and key not in record]
    for key, value in record.items():
        if key not in keys:
            wrong.append(f"{what}: {key} is not on the page")
            continue
        types = [each for word in keys[key][0].split("|") for each in _TYPES[word]]
        if not isinstance(value, tuple(types)) or (isinstance(value, bool) and bool not in types):
            wrong.append(f"{what}: {key} is {type(value).__name__}, not {keys[key][0]}")
    return wrong
