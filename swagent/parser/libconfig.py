"""libconfig text to dicts, lists (arrays ``[]``), tuples (lists ``()``) and scalars (swu format §2.2).

The grammar is libconf's. It is fed by a lexer of ours, because libconf's differs from libconfig where it matters: it
executes ``@include``, takes Unicode digits and blanks, fails on ``.`` and ``010`` with an error of Python's, reads the
escaped bytes of UTF-8 as Latin-1, does not know ``0b`` and ``0o``, and makes all tokens before it looks at the first.
What libconf's grammar lets pass is refused: a name given twice in a group, an array of several types, endless nesting.
"""

import re
from collections.abc import Iterator
from typing import Any

import libconf

from swagent.errors import DescriptionError

from .text import decode, line_of

DEPTH_MAX = 32
"""How deep groups, lists and arrays may nest; the properties of an entry are some ten levels down."""

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_NUMBER_LENGTH_MAX = 80  # 64 binary digits, prefix and suffix; int() of very long ones is slow

# No alternative can begin where another could go on, so giving back never finds a second way and time stays linear.
# (No possessive groups: Python 3.11.2, Debian's, gets them wrong.)
_LEXER = re.compile(
    r"""
    (?P<skip> [\x20\t\n\r\f\v\a\x08]+ | \#[^\n]* | //[^\n]* | /\*.*?\*/ )
  | (?P<name> [A-Za-z*][-A-Za-z0-9_*]*+ )
  | (?P<mark> [=:;,{}()\[\]] )
  | " (?P<string> [^"\\]* (?:\\. [^"\\]*){0,65536} ) "
  | (?P<float> [-+]?(?: [0-9]*+\.[0-9]*+(?:[eE][-+]?[0-9]++)? | [0-9]++[eE][-+]?[0-9]++ ) )
  | (?P<based> 0(?: [bB][01]++ | [oOqQ][0-7]++ | [xX][0-9A-Fa-f]++ )L?+L?+ )
  | (?P<integer> [-+]?[0-9]++L?+L?+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r'\\(?:[abfnrtv\\"]|[xX][0-9A-Fa-f]{2})')
_ESCAPED = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_BASES = {"b": 2, "o": 8, "q": 8, "x": 16}


def read(text: bytes, *, where: str = "sw-description") -> dict[str, Any]:
    """Parse libconfig text. Nothing is included, no file is opened.

    Args:
        text: UTF-8; the caller bounds its size.
        where: how messages call it, such as the file's path.

    Raises:
        DescriptionError: it is not libconfig text; the message has the line.
    """
    decoded = decode(text, where=where)
    stream = _Stream(decoded, where)
    try:
        result: dict[str, Any] = _Parser(stream).parse()
    except libconf.ConfigParseError as exc:
        raise DescriptionError(f"{stream.place()}: {exc}") from exc
    except RecursionError as exc:
        raise DescriptionError(f"{stream.place()}: this is nested too deeply") from exc
    return result


class _Token:
    """What libconf's grammar wants to know of a token."""

    __slots__ = ("offset", "text", "type", "value")

    def __init__(self, kind: str, text: str, value: object, offset: int) -> None:
        self.type = kind
        self.text = text
        self.value = value
        self.offset = offset

    def __str__(self) -> str:
        return repr(self.text[:40])


class _Stream(libconf.TokenStream):  # type: ignore[misc]  # libconf has no types
    """Tokens made as they are asked for, so that memory is that of the result."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._offset = 0
        self._tokens = self._lex()
        self._next: _Token | None = next(self._tokens, None)

    def peek(self) -> _Token | None:
        return self._next

    def accept(self, *kinds: str) -> _Token | None:
        token = self._next
        if token is None or token.type not in kinds:
            return None
        self._next = next(self._tokens, None)
        return token

    def finished(self) -> bool:
        return self._next is None

    def expect(self, *kinds: str) -> _Token:
        token = self.accept(*kinds)
        if token is None:
            raise libconf.ConfigParseError(f"{self._found()} stands where {' or '.join(kinds)} is needed")
        return token

    def error(self, message: str) -> None:
        raise libconf.ConfigParseError(f"{self._found()} stands here: {message}")

    def place(self, token: _Token | None = None) -> str:
        """Where a token stands, the next one if none is given."""
        token = token or self._next
        offset = token.offset if token is not None else self._offset
        return f"{self._where}:{line_of(self._text, offset)}"

    def _found(self) -> str:
        return str(self._next) if self._next is not None else "the end of the text"

    def _refuse(self, problem: str, hint: str = "") -> DescriptionError:
        return DescriptionError(f"{self._where}:{line_of(self._text, self._offset)}: {problem}", hint=hint)

    def _lex(self) -> Iterator[_Token]:
        text = self._text
        match = _LEXER.match
        while self._offset < len(text):
            offset = self._offset
            found = match(text, offset)
            if found is None:
                raise self._lost(text[offset : offset + 20])
            kind = found.lastgroup
            self._offset = found.end()
            if kind == "skip":
                continue
            word = found[0]
            if kind == "mark":
                yield _Token(word, word, None, offset)
            elif kind == "name":
                lower = word.lower()
                if lower == "true" or lower == "false":
                    yield _Token("boolean", word, lower == "true", offset)
                else:
                    yield _Token("name", word, None, offset)
            elif kind == "string":
                value = word[1:-1]
                yield _Token("string", word, self._unescape(value) if "\\" in value else value, offset)
            elif kind == "float":
                yield _Token("float", word, self._float(word), offset)
            else:
                yield _Token("integer", word, self._integer(word), offset)

    def _lost(self, rest: str) -> DescriptionError:
        if rest.startswith("@"):
            return self._refuse(
                "@include and other @ directives are not executed", "put the text itself into the description"
            )
        if rest.startswith('"'):
            return self._refuse("a string begins here and does not end")
        if rest.startswith("/*"):
            return self._refuse("a comment begins here and does not end")
        return self._refuse(f"{rest[:1]!r} has no meaning here", "strings stand between double quotes")

    def _float(self, word: str) -> float:
        try:
            return float(word)
        except ValueError as exc:
            raise self._refuse(
                f"{word[:40]!r} is not a number", "names have no dots; in JSON they may"
            ) from exc

    def _integer(self, word: str) -> int:
        digits, base = word.rstrip("L"), _BASES.get(word[1:2].lower(), 10)
        if base != 10:
            digits = digits[2:]
        value = int(digits, base) if len(digits) <= _NUMBER_LENGTH_MAX else _INT64_MAX + 1
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise self._refuse(f"the number {word[:40]} needs more than 64 bits")
        return value

    def _unescape(self, value: str) -> str:
        # \xHH is a byte, so it takes two of them to write an umlaut: the way leads over bytes
        def byte(match: re.Match[str]) -> str:
            letter = match[0][1]
            code = int(match[0][2:], 16) if letter in "xX" else _ESCAPED[letter]
            return chr(code) if code < 128 else chr(0xDC00 + code)

        plain = _ESCAPE.sub(byte, value)
        try:
            plain = plain.encode("utf-8", "surrogateescape").decode("utf-8")
        except UnicodeDecodeError as exc:
            raise self._refuse("the \\x escapes in this string do not make UTF-8 text") from exc
        if "\0" in plain:
            raise self._refuse("there is a NUL character (\\x00) in this string")
        return plain


class _Parser(libconf.Parser):  # type: ignore[misc]  # libconf has no types
    """libconf's grammar with what it lacks."""

    def __init__(self, stream: _Stream) -> None:
        super().__init__(stream)
        self._depth = 0
        self._by_first = {
            "string": self.string,
            "{": self.group,
            "(": self.list,
            "[": self.array,
            "boolean": self.boolean,
            "integer": self.integer,
            "float": self.float,
        }

    def setting_list_or_empty(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while True:
            token = self.tokens.peek()
            setting = self.setting()
            if setting is None:
                return result
            name, value = setting
            if name in result:
                raise DescriptionError(
                    f"{self.tokens.place(token)}: {name!r} stands twice in one group",
                    hint="remove one of the two",
                )
            result[name] = value

    def value(self) -> Any:
        # the token says what comes: libconf tries ten alternatives one after the other
        token = self.tokens.peek()
        rule = self._by_first.get(token.type) if token is not None else None
        return rule() if rule is not None else None

    def array(self) -> Any:
        token = self.tokens.peek()
        values = super().array()
        if values and any(type(value) is not type(values[0]) for value in values):
            raise DescriptionError(
                f"{self.tokens.place(token)}: an array in [ ] has values of several types",
                hint="write a list in ( ) instead",
            )
        return values

    def scalar_value(self) -> Any:
        token = self.tokens.peek()
        return None if token is None or token.type in "{[(" else self.value()

    def _enclosed_block(self, start: str, nonterminal: Any, end: str) -> Any:
        if self._depth >= DEPTH_MAX:
            raise DescriptionError(
                f"{self.tokens.place()}: groups and lists are nested more than {DEPTH_MAX} deep"
            )
        self._depth += 1
        result = super()._enclosed_block(start, nonterminal, end)
        self._depth -= 1
        return result
