"""The types of lists: where a type's datum comes from, how a record is compared with it, when it is asked for."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any, Protocol

from swagent.errors import MetadataError

from .layout import Matching, Section
from .matching import Match, each, glob, raw, regular


class Facts(Protocol):
    """What a unit and its image can tell."""

    def value(self, name: str) -> str:
        """The datum of this name: not empty, without a NUL, not long.

        Raises:
            SwagentError: it cannot be told.
        """
        ...

    def now_s(self) -> float:
        """Seconds since the epoch."""
        ...


class ListType(Protocol):
    """One type of list, on the shelf ``swagent.authdb_sections``.

    Attributes:
        order: the lower, the earlier its datum is asked for; the image's version comes last.
        secret: whether the datum must not be shown.
    """

    order: int
    secret: bool

    def datum(self, facts: Facts) -> str:
        """What is looked up.

        Raises:
            SwagentError: it cannot be told.
        """
        ...

    def match(self, section: Section, datum: str, facts: Facts, *, encrypted: bool) -> Match:
        """What tells whether records fit the datum.

        Args:
            section: the list.
            datum: as ``datum`` gave it.
            facts: for types that compare with more than one.
            encrypted: whether the list's records are.

        Raises:
            MetadataError: this type cannot be compared in the way that the list asks for.
            RegistrationError: a package is missing.
        """
        ...


_WAYS: dict[Matching, Callable[[str], Match]] = {
    Matching.RAW: raw,
    Matching.GLOB: glob,
    Matching.REGULAR: regular,
}


class Text:
    """A text of the unit or the image, compared as the list says.

    Args:
        name: of the datum.
        order: see ``ListType``.
    """

    secret = False

    def __init__(self, name: str, order: int) -> None:
        self._name = name
        self.order = order

    def datum(self, facts: Facts) -> str:
        """As the unit tells it."""
        return facts.value(self._name)

    def match(self, section: Section, datum: str, facts: Facts, *, encrypted: bool) -> Match:
        """By the list's way."""
        return _WAYS[section.matching](datum)


class Window:
    """A moment in UTC; a plain record is a window ``FROM..UNTIL``, both included, one of them may be missing.

    Args:
        read: makes what can be compared of a word, or raises ValueError.
        form: how the datum is written, for ``strftime``.
        round_the_clock: whether a window may end before it begins.
        order: see ``ListType``.
    """

    secret = False

    def __init__(self, read: Callable[[str], Any], form: str, *, round_the_clock: bool, order: int) -> None:
        self._read = read
        self._form = form
        self._round_the_clock = round_the_clock
        self.order = order

    def datum(self, facts: Facts) -> str:
        """By the clock."""
        return datetime.fromtimestamp(facts.now_s(), UTC).strftime(self._form)

    def match(self, section: Section, datum: str, facts: Facts, *, encrypted: bool) -> Match:
        """Whether it is in a window; by pattern or expression, as the text that it is."""
        if section.matching is not Matching.RAW:
            return _WAYS[section.matching](datum)
        return each(lambda record: self._holds(record, datum))

    def _holds(self, record: str, datum: str) -> bool:
        begin, dots, end = record.partition("..")
        if not begin and not end:
            raise MetadataError(f"{record[:40]!r} is a window without a beginning or an end")
        try:
            now = self._read(datum)
            since = self._read(begin) if begin else now
            until = self._read(end) if end else now if dots else since
            if until < since and begin and end:
                return self._round_the_clock and bool(since <= now or now <= until)
            return bool(since <= now <= until)
        except (ValueError, TypeError) as exc:  # TypeError: a zone, which our times do not have
            raise MetadataError(f"{record[:40]!r} is no window of time: {exc}") from exc


class ActivationCode:
    """A code that somebody made for this unit's serial number; a record is the key that proves it (``activation``)."""

    secret = True
    order = 40

    def datum(self, facts: Facts) -> str:
        """As the unit keeps it."""
        return facts.value("activation_code")

    def match(self, section: Section, datum: str, facts: Facts, *, encrypted: bool) -> Match:
        """Whether a record's key made the code for this unit's ``msn``."""
        from .activation import made_by

        if section.matching is not Matching.RAW:
            raise MetadataError(f"{section}: keys are not compared by patterns")
        serial = facts.value("msn")
        return each(lambda record: made_by(record, datum, serial, secret_kept=encrypted))


MSN = Text("msn", 10)
MODEL_NUMBER = Text("model_number", 20)
HOST_SERIAL = Text("host_serial", 30)
ACTIVATION_CODE = ActivationCode()
DATE = Window(date.fromisoformat, "%Y-%m-%d", round_the_clock=False, order=50)
TIME = Window(time.fromisoformat, "%H:%M", round_the_clock=True, order=60)
IMAGE_VERSION = Text("image_version", 1000)
