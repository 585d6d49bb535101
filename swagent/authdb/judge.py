"""The rules: which lists a unit and its image must be in, and in which order they are asked (authorization db §3)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import AuthorizationRefused, MetadataError, SwagentError

from .layout import Section
from .records import plain_blocks

if TYPE_CHECKING:
    from swagent.plugins import Registry

    from .ciphers import CipherClass, Key
    from .lists import Facts, ListType
    from .reader import Database

HIDDEN = "(hidden)"


class Step(NamedTuple):
    """News of a check.

    Attributes:
        event: ``checking``; ``mismatch``; ``no-datum`` where unit or image does not tell what is to be looked up;
            ``database`` where the database keeps its lists from being judged.
        list: the type concerned, "" for none.
        datum: what was looked up, "" where it is not known; never a secret.
    """

    event: str
    list: str = ""
    datum: str = ""


class Judge:
    """Holds a unit and an image against databases.

    Args:
        list_types: the types that are known.
        ciphers: the record ciphers that are known.
        key: of encrypted records, None for none.
        facts: what is known of unit and image.
        tell: hears each step.
    """

    def __init__(
        self,
        list_types: "Registry[ListType]",
        ciphers: "Registry[CipherClass]",
        key: "Key | None",
        facts: "Facts",
        tell: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self._list_types = list_types
        self._ciphers = ciphers
        self._key = key
        self._facts = facts
        self._tell = tell

    def check(self, database: "Database") -> None:
        """All lists must be satisfied; a type without a list restricts nothing.

        Raises:
            AuthorizationRefused: one is not, or cannot be judged.
        """
        try:
            types = self._types(database)
        except SwagentError as exc:
            raise self._cannot_judge(Step("database"), exc) from exc
        for name in sorted(types, key=lambda name: (types[name].order, name)):
            self._check_type(database, name, types[name])

    def _types(self, database: "Database") -> "dict[str, ListType]":
        types = {}
        for section in database.sections:
            known = self._list_types.get(section.name)
            if known is None:
                raise MetadataError(
                    f"there are lists of the type {section.name!r}, which is not known here",
                    hint=f"known are {', '.join(self._list_types.names())}",
                )
            types[section.name] = known
        return types

    def _check_type(self, database: "Database", name: str, known: "ListType") -> None:
        try:
            datum = known.datum(self._facts)
        except SwagentError as exc:
            raise self._cannot_judge(Step("no-datum", name), exc) from exc
        shown = HIDDEN if known.secret else datum
        self._tell(Step("checking", name, shown))
        for section in database.sections:
            if section.name != name:
                continue
            try:
                found = self._found(database, section, known, datum)
            except SwagentError as exc:
                raise self._cannot_judge(Step("database", name, shown), exc) from exc
            if found is not section.allow:
                self._tell(Step("mismatch", name, shown))
                raise AuthorizationRefused(
                    f"{name} {shown} {_why(section)}", hint="ask whoever issued the list"
                )

    def _found(self, database: "Database", section: Section, known: "ListType", datum: str) -> bool:
        blocks, width, encrypted = plain_blocks(database, section, self._ciphers, self._key)
        match = known.match(section, datum, self._facts, encrypted=encrypted)
        found = False
        for block in blocks:  # to its end: only there is told whether it is what was verified
            found = found or match(block, width)
        return found

    def _cannot_judge(self, step: Step, exc: SwagentError) -> AuthorizationRefused:
        self._tell(step)
        about = f"{step.list}: " if step.list else ""
        return AuthorizationRefused(f"{about}{exc.message}", hint=exc.hint)


def _why(section: Section) -> str:
    if not section.allow:
        return "is in the deny list"
    return "is not in the allow list" if section.entities else "is refused: the allow list is empty"
