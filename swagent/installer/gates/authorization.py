"""The gate that asks ``UniAuth.db``: may this unit have this update? (authorization db §3, §7)"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from errno import ENOENT
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import AuthorizationRefused, DeviceError, SwagentError
from swagent.model import Description, Plan, Unit

if TYPE_CHECKING:
    from swagent.authdb.judge import Step
    from swagent.authdb.lists import Facts
    from swagent.authdb.reader import Database


class Rules(NamedTuple):
    """Which database counts.

    Attributes:
        path: where it is, "" for nowhere.
        required: whether it must be there.
        project: for which it must have been made, "" for any.
        key_files: public keys of who may have signed it; empty asks for no signature.
        records_key_file: key of encrypted records, "" for none.
    """

    path: str
    required: bool = False
    project: str = ""
    key_files: tuple[str, ...] = ()
    records_key_file: str = ""


class AuthorizationGate:
    """Every list of the database must let this unit and this image through.

    Args:
        rules: which database counts.
        facts: what unit and image tell.
        tell: hears name and facts of events.
    """

    name = "authorization"

    def __init__(
        self,
        rules: Rules,
        facts: "Callable[[Description], Facts]",
        tell: Callable[[str, dict[str, object]], None],
    ) -> None:
        self._rules = rules
        self._facts = facts
        self._tell = tell

    def check(self, plan: Plan, unit: Unit) -> None:
        """Ask it.

        Raises:
            AuthorizationRefused: a list says no, or cannot be judged; or the database is missing or not to be believed.
        """
        databases = self._open(plan.database)
        with ExitStack() as opened:
            for database in databases:
                opened.enter_context(database)
            for database in databases:
                self._judge(database, plan.description)
        if databases:
            self._tell("authorization.done", {"databases": [database.where for database in databases]})

    def _open(self, brought: bytes | None) -> "list[Database]":
        """That of the image, and that beside it or where the rules say: if there are both, both count."""
        rules = self._rules
        if brought is None and not rules.required and _is_missing(rules.path):
            return []  # before anything is imported: most images have none
        from swagent.authdb import FILE_NAME
        from swagent.authdb.reader import open_bytes, open_database
        from swagent.authdb.signing import load_trust

        found: list[Database] = []
        try:
            trust = load_trust(rules.key_files)
            if brought is not None:
                found.append(open_bytes(brought, f"{FILE_NAME} in the image", trust))
            if rules.path:
                found.append(open_database(rules.path, trust))
        except SwagentError as exc:
            if not isinstance(exc, DeviceError) or exc.errno != ENOENT:
                for database in found:
                    database.close()
                raise self._refusal("database", exc.message, exc.hint) from exc
        if not found and rules.required:
            raise self._refusal(
                "missing",
                f"{rules.path or FILE_NAME} is missing, and this unit is not updated without it",
                "put it beside the image, or where `database` in the group authorization says",
            )
        return found

    def _judge(self, database: "Database", description: Description) -> None:
        from swagent.authdb import known_ciphers, known_lists
        from swagent.authdb.ciphers import read_key
        from swagent.authdb.judge import Judge

        rules = self._rules
        if rules.project and database.header.project != rules.project:
            raise self._refusal(
                "database",
                f"{database.where} is of project {database.header.project!r}, not {rules.project!r}",
            )
        try:
            key = read_key(rules.records_key_file) if rules.records_key_file else None
        except SwagentError as exc:
            raise self._refusal("database", exc.message, exc.hint) from exc
        Judge(known_lists(), known_ciphers(), key, self._facts(description), self._step).check(database)

    def _step(self, step: "Step") -> None:
        facts: dict[str, object] = {"list": step.list, "datum": step.datum}
        if step.event == "checking":
            self._tell("authorization.checking", facts)
        else:
            self._tell("authorization.failed", {"reason": step.event, **facts})

    def _refusal(self, reason: str, message: str, hint: str = "") -> AuthorizationRefused:
        self._tell("authorization.failed", {"reason": reason, "list": "", "datum": ""})
        return AuthorizationRefused(message, hint=hint)


def _is_missing(path: str) -> bool:
    """Whether there is surely nothing of this name; what cannot be looked at may be there."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
