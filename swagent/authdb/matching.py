"""Comparing a datum with records: as they are, by shell patterns, by regular expressions (authorization db §2, §3).

A record ends at its first NUL. A pattern or expression must fit the whole datum. Time grows with the length of the
pattern times that of the datum, whatever either looks like; both are bounded.
"""

from collections.abc import Callable, Iterator

from swagent.errors import MetadataError, RegistrationError

DATUM_BYTES_MAX = 256
PATTERN_BYTES_MAX = 1024
_EXPRESSION_MEMORY_BYTES = 1 << 20

Match = Callable[[bytes, int], bool]
"""Whether one of the plain records in a block, each so many bytes wide, fits the datum."""


def raw(datum: str) -> Match:
    """Records that are the datum: searched for at the speed of memory."""
    wanted = datum.encode()

    def match(block: bytes, width: int) -> bool:
        if len(wanted) > width:
            return False
        needle = wanted if len(wanted) == width else wanted + b"\0"
        at = block.find(needle)
        while at >= 0:
            if at % width == 0:
                return True
            at = block.find(needle, at - at % width + width)  # a record begins there at the earliest
        return False

    return match


def texts(block: bytes, width: int) -> Iterator[str]:
    """The records of a block as text.

    Raises:
        MetadataError: one is none.
    """
    for at in range(0, len(block), width):
        record = block[at : at + width].partition(b"\0")[0]
        try:
            yield record.decode()
        except UnicodeDecodeError as exc:
            raise MetadataError(f"record {record[:40]!r} is no UTF-8") from exc


def each(fits: Callable[[str], bool]) -> Match:
    """Records that fit one by one; empty ones never do."""

    def match(block: bytes, width: int) -> bool:
        return any(fits(text) for text in texts(block, width) if text)

    return match


def glob(datum: str) -> Match:
    """Records that are patterns with ``*``, ``?``, ``[a-z]`` and ``[!a-z]``, as in a shell."""
    return each(lambda pattern: fits_glob(_bounded(pattern), datum))


def regular(datum: str) -> Match:
    """Records that are regular expressions in RE2's syntax.

    Raises:
        RegistrationError: google-re2 is not installed.
    """
    compiled = compiler()
    return each(lambda pattern: compiled(_bounded(pattern))(datum))


def compiler() -> Callable[[str], Callable[[str], bool]]:
    """What makes a test of whole texts of an expression; it raises MetadataError where that is none.

    Raises:
        RegistrationError: google-re2 is not installed.
    """
    try:
        import re2
    except ImportError as exc:
        raise RegistrationError(
            "lists of regular expressions need the package google-re2",
            hint="pip install 'swagent[authdb]'",
        ) from exc
    options = re2.Options()
    options.max_mem = _EXPRESSION_MEMORY_BYTES
    options.log_errors = False

    def compiled(pattern: str) -> Callable[[str], bool]:
        try:
            expression = re2.compile(pattern, options)
        except re2.error as exc:
            raise MetadataError(f"{pattern[:80]!r} is no regular expression: {_words(exc)}") from exc
        return lambda text: expression.fullmatch(text) is not None

    return compiled


def fits_glob(pattern: str, text: str) -> bool:
    """Whether a shell pattern fits the whole text, upper and lower case apart.

    Between stars the leftmost place is taken, which is never worse than another: nothing is tried twice.
    """
    first, *others = _parts(pattern)
    if not _fits_at(first, text, 0):
        return False
    at = len(first)
    if not others:
        return at == len(text)
    *inner, last = others
    for part in inner:
        while not _fits_at(part, text, at):
            at += 1
            if at + len(part) > len(text):
                return False
        at += len(part)
    return len(text) - len(last) >= at and _fits_at(last, text, len(text) - len(last))


_Test = Callable[[str], bool]


def _parts(pattern: str) -> list[list[_Test]]:
    """What stands between the stars: a test for each character."""
    parts: list[list[_Test]] = [[]]
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            parts.append([])
        elif letter == "?":
            parts[-1].append(lambda _: True)
        elif letter == "[" and (end := pattern.find("]", at + (2 if pattern[at : at + 1] == "!" else 1))) > 0:
            parts[-1].append(_one_of(pattern[at:end]))
            at = end + 1
        else:
            parts[-1].append(letter.__eq__)
    return parts


def _one_of(inside: str) -> _Test:
    """``a-z`` and single characters; ``!`` in front turns it round."""
    negated = inside.startswith("!")
    rest = inside.removeprefix("!") if negated else inside
    ranges = []
    while rest:
        if len(rest) > 2 and rest[1] == "-":
            ranges.append((rest[0], rest[2]))
            rest = rest[3:]
        else:
            ranges.append((rest[0], rest[0]))
            rest = rest[1:]
    return lambda letter: any(low <= letter <= high for low, high in ranges) is not negated


def _fits_at(part: list[_Test], text: str, at: int) -> bool:
    return len(text) - at >= len(part) and all(
        test(letter) for test, letter in zip(part, text[at : at + len(part)], strict=True)
    )


def _bounded(pattern: str) -> str:
    if len(pattern.encode()) > PATTERN_BYTES_MAX:
        raise MetadataError(f"a pattern has more than {PATTERN_BYTES_MAX} bytes: {pattern[:40]!r}…")
    return pattern


def _words(exc: Exception) -> str:
    said = exc.args[0] if exc.args else exc
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
