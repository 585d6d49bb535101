"""From a description to a plan: which entry is installed how, which is skipped and why. Writes nothing."""

from collections.abc import Mapping

from swagent.errors import ArchiveError, DescriptionError, RegistrationError
from swagent.handlers.api import Card, Handler
from swagent.handlers.options import load, read_options
from swagent.model import Artifact, Description, Fate, Kind, Plan, Planned, Unit
from swagent.plugins import Registry
from swagent.stream import Member

from .inventory import skip_reason
from .pieces import judge_order, judge_size, pieces_of
from .tables import table_of


class Planner:
    """Plans for one set of handlers.

    Args:
        handlers: the handlers there are.
        signed: whether sw-description was vouched for; then every entry with data needs a sha256.
    """

    def __init__(self, handlers: Registry[Handler], *, signed: bool) -> None:
        self._handlers = handlers
        self._signed = signed
        self._loaded: dict[str, Handler] = {}
        self.warnings: list[str] = []

    def plan(self, description: Description, unit: Unit, members: Mapping[str, Member] | None) -> Plan:
        """Judge every entry and decide its fate.

        Args:
            description: what is asked for.
            unit: what it would be installed on.
            members: the archive's members by name, None when they are not known yet (a stream).

        Raises:
            DescriptionError: an entry asks for something that does not exist or may not be.
            ArchiveError: a member is missing.
            SizeError: a member has another size than promised.
            RegistrationError: a handler cannot be used here.
        """
        entries = []
        for art in description.installables:
            reason = skip_reason(art, unit.installed)
            card = self._judge(art)
            if reason:
                entries.append(Planned(art, Fate.SKIPPED, reason))
                continue
            stored_bytes = _judge_members(art, members) if _takes_data(art, card) else None
            entries.append(
                Planned(art, _fate(art, card), stored_bytes=stored_bytes, overwrites=card.overwrites)
            )
        scripts = []
        for art in description.scripts:
            card = self._judge(art)
            stored_bytes = _judge_members(art, members) if card.data else None
            scripts.append(Planned(art, Fate.SCRIPT, stored_bytes=stored_bytes, overwrites=card.overwrites))
        return Plan(description, tuple(entries), tuple(scripts))

    def handler(self, art: Artifact) -> Handler:
        """The handler of an entry.

        Raises:
            DescriptionError: there is none of that name.
        """
        found = self._loaded.get(art.type)
        if found is not None:
            return found
        found = load(self._handlers, art.type)
        if found is None:
            from difflib import get_close_matches

            near = get_close_matches(art.type, self._handlers.names(), n=1)
            raise DescriptionError(
                f"{art.where}: there is no handler named {art.type!r}",
                artifact=art.label,
                hint=f"did you mean {near[0]!r}?" if near else "`swagent handlers` lists those there are",
            )
        self._loaded[art.type] = found
        return found

    def _judge(self, art: Artifact) -> Card:
        card: Card = self.judge_handler(art).card
        if _takes_data(art, card):
            if not art.filename:
                raise DescriptionError(
                    f"{art.where}: filename is missing", artifact=art.label, handler=art.type
                )
            if self._signed and art.sha256 is None:
                raise DescriptionError(
                    f"{art.where}: sha256 is missing, and signed images need one for every member they use",
                    artifact=art.label,
                    handler=art.type,
                    hint="`swagent make` fills it in",
                )
            table_of(art)
            pieces_of(art)
        return card

    def judge_handler(self, art: Artifact) -> Handler:
        """The handler of an entry, when it can do what the entry asks for.

        Raises:
            DescriptionError: there is none of that name, or it cannot.
            RegistrationError: it cannot be used here.
        """
        try:
            found = self.handler(art)
        except RegistrationError as exc:
            raise RegistrationError(
                f"{art.where}: {exc.message}", artifact=art.label, handler=art.type, hint=exc.hint
            ) from exc
        card: Card = found.card
        wanted = Kind.IMAGE | Kind.FILE if art.kind & (Kind.IMAGE | Kind.FILE) else art.kind
        if not card.kinds & wanted:
            raise DescriptionError(
                f"{art.where}: the handler {art.type!r} is not made for this section",
                artifact=art.label,
                handler=art.type,
            )
        if art.installed_directly and not card.streams:
            raise DescriptionError(
                f"{art.where}: the handler {art.type!r} cannot install directly from the stream",
                artifact=art.label,
                handler=art.type,
                hint="remove installed-directly",
            )
        for attribute in card.attributes:
            if not getattr(art, attribute):
                raise DescriptionError(
                    f"{art.where}: the handler {art.type!r} needs the attribute {attribute!r}",
                    artifact=art.label,
                    handler=art.type,
                )
        if art.installed_directly and art.prop("user-data") in ("true", "TRUE"):
            raise DescriptionError(
                f"{art.where}: user-data cannot be installed directly: its data may be needed a second time",
                artifact=art.label,
                handler=art.type,
                hint="remove installed-directly",
            )
        if art.prop("verify-write") == "true" and not card.reads_back:
            raise DescriptionError(
                f"{art.where}: the handler {art.type!r} does not read back what it writes",
                artifact=art.label,
                handler=art.type,
                hint="remove the property verify-write; raw, rawfile, flash and ubivol can",
            )
        _, warnings = read_options(found.Options, art)
        self.warnings += warnings
        return found


def _takes_data(art: Artifact, card: Card) -> bool:
    """Whether a member is read for an entry; a layout change has none, whatever else its handler serves."""
    return card.data and art.kind is not Kind.PARTITION


def _fate(art: Artifact, card: Card) -> Fate:
    if not _takes_data(art, card):
        return Fate.APPLY
    return Fate.DIRECT if art.installed_directly else Fate.STAGED


def _judge_members(art: Artifact, members: Mapping[str, Member] | None) -> int | None:
    """How many bytes an entry has as stored; None of a stream."""
    if members is None:
        return None
    judge_order(art, list(members))
    pieces = [members[piece.name] for piece in pieces_of(art)]
    for member in pieces:
        judge_size(art, member)
    table = table_of(art)
    if table is not None and table.name not in members:
        raise ArchiveError(
            f"{art.where}: the archive has no member {table.name!r}, its chunk table", artifact=art.label
        )
    return sum(member.size_bytes for member in pieces)


def by_member(plan: Plan) -> dict[str, list[Planned]]:
    """Which entries use which member."""
    wanted: dict[str, list[Planned]] = {}
    for planned in (*plan.entries, *plan.scripts):
        if planned.fate in (Fate.DIRECT, Fate.STAGED, Fate.SCRIPT) and planned.artifact.filename:
            for piece in pieces_of(planned.artifact):
                wanted.setdefault(piece.name, []).append(planned)
    return wanted


def nothing_missing(wanted: Mapping[str, list[Planned]]) -> None:
    """What is still wanted when the archive has ended.

    Raises:
        ArchiveError: something is.
    """
    for name, uses in wanted.items():
        raise ArchiveError(f"{uses[0].artifact.where}: the archive has no member {name!r}", artifact=name)


def with_stream_fates(plan: Plan) -> Plan:
    """For a stream, where a member passes once: entries that share one are all staged."""
    uses = by_member(plan)
    entries = tuple(
        planned._replace(fate=Fate.STAGED)
        if planned.fate is Fate.DIRECT and len(uses[planned.artifact.filename]) > 1
        else planned
        for planned in plan.entries
    )
    return plan._replace(entries=entries)
