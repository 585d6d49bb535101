"""Databases for tests, and units to hold against them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from swagent.authdb import known_ciphers, known_lists
from swagent.authdb.ciphers import Key
from swagent.authdb.judge import Judge, Step
from swagent.authdb.layout import LP64, Abi, Matching
from swagent.authdb.reader import Database, open_database
from swagent.authdb.records import plain_blocks
from swagent.authdb.writer import NewList, write
from swagent.crypto.schemes import PrivateKey, PublicKey, load
from swagent.errors import SettingsError

KEY = Key(bytes(range(32)))
NOW_S = 1_782_907_200.0  # 2026-07-01T12:00:00Z


class Told:
    """Facts from a mapping; what is not in it cannot be told."""

    def __init__(self, values: Mapping[str, str], now_s: float = NOW_S) -> None:
        self._values = values
        self._now_s = now_s
        self.asked: list[str] = []

    def value(self, name: str) -> str:
        self.asked.append(name)
        if name not in self._values:
            raise SettingsError(f"nobody tells the {name}")
        return self._values[name]

    def now_s(self) -> float:
        return self._now_s


def a_list(
    name: str,
    *records: str | bytes,
    allow: bool = True,
    matching: Matching = Matching.RAW,
    alg: str = "none",
) -> NewList:
    raw = [record.encode() if isinstance(record, str) else record for record in records]
    return NewList(name, allow, lambda: iter(raw), matching, alg)


def make(path: Path, lists: Iterable[NewList], *, abi: Abi = LP64, signer: PrivateKey | None = None) -> Path:
    write(str(path), lists, ciphers=known_ciphers(), key=KEY, project="test", abi=abi, signer=signer)
    return path


def public(key: PrivateKey) -> tuple[PublicKey, ...]:
    return (load(key.scheme, key.public),)


def check(
    path: Path, facts: Told | Mapping[str, str], *, key: Key | None = KEY, trust: tuple[PublicKey, ...] = ()
) -> list[Step]:
    """Hold a unit against a database; the steps told."""
    steps: list[Step] = []
    told = facts if isinstance(facts, Told) else Told(facts)
    with open_database(str(path), trust) as database:
        Judge(known_lists(), known_ciphers(), key, told, steps.append).check(database)
    return steps


def records(database: Database, number: int) -> list[bytes]:
    """The plain records of a list, without the NULs behind them."""
    blocks, width, _ = plain_blocks(database, database.sections[number], known_ciphers(), KEY)
    return [block[at : at + width].rstrip(b"\0") for block in blocks for at in range(0, len(block), width)]
