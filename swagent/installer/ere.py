r"""POSIX extended regular expressions, as ``#RE:`` entries of hardware-compatibility are (swu format §4).

Python's ``re`` is another language (it has ``\d``, look-around and lazy quantifiers, and no ``[[:digit:]]``) and can be
made to search for years. Here an expression becomes a small automaton, and a search walks it once: its time is bounded
by the expression's size times the text's length. What POSIX leaves undefined is refused, not guessed.
"""

from collections.abc import Callable

PATTERN_MAX = 255
"""Longest expression, in characters."""

_REPEAT_MAX = 255  # POSIX: RE_DUP_MAX
_STATES_MAX = 1000
_NESTING_MAX = 32
_SPECIAL = frozenset("\\^$.[]()|*+?{}")

Test = Callable[[str], bool]

_CLASSES: dict[str, Test] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "blank": lambda c: c in " \t",
    "cntrl": lambda c: c < " " or c == "\x7f",
    "digit": lambda c: "0" <= c <= "9",
    "graph": lambda c: "!" <= c <= "~",
    "lower": lambda c: "a" <= c <= "z",
    "print": lambda c: " " <= c <= "~",
    "punct": lambda c: "!" <= c <= "~" and not c.isalnum(),
    "space": lambda c: c in " \t\n\r\f\v",
    "upper": lambda c: "A" <= c <= "Z",
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}

# The automaton: a state is (test, next, next). A test takes one character, or is one of these, which take none:
_SPLIT, _START, _END, _ACCEPT = "split", "start", "end", "accept"
_State = tuple[Test | str, int, int]

# The tree an expression is read to: ("test", t) ("start",) ("end",) ("empty",) ("join", a, b) ("or", a, b)
# ("repeat", a, least, most or None)
_Node = tuple[object, ...]


class EreError(ValueError):
    """The expression is not one that POSIX defines, or it is too large."""


class Ere:
    """A compiled expression.

    Args:
        pattern: POSIX extended regular expression, in the C locale's classes.

    Raises:
        EreError: it does not compile.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > PATTERN_MAX:
            raise EreError(f"it is longer than {PATTERN_MAX} characters")
        self._states: list[_State] = [(_ACCEPT, 0, 0)]
        self._start = self._compile(_Reader(pattern).expression(), 0)

    def search(self, text: str) -> bool:
        """Whether it matches any part of ``text``."""
        states = self._states
        live: set[int] = set()
        for position in range(len(text) + 1):
            live = self._follow(live | {self._start}, at_start=position == 0, at_end=position == len(text))
            if 0 in live:
                return True
            if position < len(text):
                character = text[position]
                live = {
                    states[state][1]
                    for state in live
                    if callable(test := states[state][0]) and test(character)
                }
        return False

    def _follow(self, live: set[int], *, at_start: bool, at_end: bool) -> set[int]:
        """All states that can be reached without taking a character."""
        todo = list(live)
        while todo:
            test, one, other = self._states[todo.pop()]
            if test == _SPLIT:
                reached = (one, other)
            elif (test == _START and at_start) or (test == _END and at_end):
                reached = (one, one)
            else:
                continue
            for state in reached:
                if state not in live:
                    live.add(state)
                    todo.append(state)
        return live

    def _add(self, test: Test | str, one: int, other: int) -> int:
        if len(self._states) >= _STATES_MAX:
            raise EreError("its repetitions make it too large")
        self._states.append((test, one, other))
        return len(self._states) - 1

    def _compile(self, node: _Node, after: int) -> int:
        """Add the states of ``node``, leading on to ``after``; returns where they begin."""
        match node:
            case ("test", test):
                return self._add(test, after, after)  # type: ignore[arg-type]  # by construction of the tree
            case ("start",):
                return self._add(_START, after, after)
            case ("end",):
                return self._add(_END, after, after)
            case ("join", tuple() as first, tuple() as second):
                return self._compile(first, self._compile(second, after))
            case ("or", tuple() as first, tuple() as second):
                return self._add(_SPLIT, self._compile(first, after), self._compile(second, after))
            case ("repeat", tuple() as what, int() as least, most):
                return self._compile_repeat(what, least, most if isinstance(most, int) else None, after)
        return after

    def _compile_repeat(self, what: _Node, least: int, most: int | None, after: int) -> int:
        begin = after
        if most is None:
            begin = self._add(_SPLIT, after, after)
            self._states[begin] = (_SPLIT, self._compile(what, begin), after)
        else:
            for _ in range(most - least):
                begin = self._add(_SPLIT, self._compile(what, begin), after)
        for _ in range(least):
            begin = self._compile(what, begin)
        return begin


class _Reader:
    """Recursive descent over one expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def expression(self) -> _Node:
        node = self._alternatives()
        if self._at < len(self._pattern):
            raise EreError("a ) closes nothing")
        return node

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _alternatives(self) -> _Node:
        node = self._branch()
        while self._peek() == "|":
            self._at += 1
            node = ("or", node, self._branch())
        return node

    def _branch(self) -> _Node:
        node: _Node = ("empty",)
        while (letter := self._peek()) and letter not in "|)":
            piece = self._repeated(self._atom(), anchor=letter in "^$")
            node = piece if node == ("empty",) else ("join", node, piece)
        if node == ("empty",):
            raise EreError("nothing stands where an expression should")
        return node

    def _repeated(self, node: _Node, *, anchor: bool) -> _Node:
        letter = self._peek()
        if not letter or letter not in "*+?{":
            return node
        if anchor:
            raise EreError(f"{letter} behind an anchor is undefined")
        self._at += 1
        if letter == "{":
            least, most = self._bounds()
        else:
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[letter]
        if self._peek() and self._peek() in "*+?{":
            raise EreError(f"{letter}{self._peek()} is undefined; there are no lazy quantifiers")
        return ("repeat", node, least, most)

    def _bounds(self) -> tuple[int, int | None]:
        inside, closed, _ = self._pattern[self._at :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not _is_number(low) or (high and not _is_number(high)):
            raise EreError("after { come one or two numbers and }")
        self._at += len(inside) + 1
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if max(least, most or 0) > _REPEAT_MAX or (most is not None and most < least):
            raise EreError(f"{{{inside}}} is out of range")
        return least, most

    def _atom(self) -> _Node:
        letter = self._peek()
        self._at += 1
        if letter == "(":
            return self._group()
        if letter == "[":
            return ("test", self._bracket())
        if letter == ".":
            return ("test", lambda c: True)
        if letter == "^":
            return ("start",)
        if letter == "$":
            return ("end",)
        if letter in "*+?{":
            raise EreError(f"{letter} repeats nothing")
        if letter == "\\":
            letter = self._peek()
            if not letter or letter not in _SPECIAL:
                raise EreError(f"\\{letter} does not exist; digits are [0-9] or [[:digit:]]")
            self._at += 1
        return ("test", letter.__eq__)

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > _NESTING_MAX:
            raise EreError(f"it is nested more than {_NESTING_MAX} deep")
        node = self._alternatives()
        if self._peek() != ")":
            raise EreError("a ( is not closed")
        self._at += 1
        self._depth -= 1
        return node

    def _bracket(self) -> Test:
        tests: list[Test] = []
        negated = self._peek() == "^"
        self._at += negated
        first = True
        while first or self._peek() != "]":
            first = False
            if self._pattern.startswith("[:", self._at):
                name = self._named(":")
                if name not in _CLASSES:
                    raise EreError(f"[:{name}:] is no class")
                tests.append(_CLASSES[name])
                continue
            low = self._element()
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._element()
                if high < low:
                    raise EreError(f"the range {low}-{high} is empty")
                tests.append(lambda c, low=low, high=high: low <= c <= high)  # type: ignore[misc]  # bound by default
            else:
                tests.append(low.__eq__)
        self._at += 1
        if negated:
            return lambda c: not any(test(c) for test in tests)
        return lambda c: any(test(c) for test in tests)

    def _element(self) -> str:
        for kind in (".", "="):
            if self._pattern.startswith("[" + kind, self._at):
                name = self._named(kind)
                if len(name) != 1:
                    raise EreError(f"[{kind}{name}{kind}] is no character")
                return name
        letter = self._peek()
        if not letter:
            raise EreError("a [ is not closed")
        if self._pattern.startswith("[:", self._at):
            raise EreError("a class cannot end a range")
        self._at += 1
        return letter

    def _named(self, kind: str) -> str:
        name, closed, _ = self._pattern[self._at + 2 :].partition(kind + "]")
        if not closed:
            raise EreError(f"a [{kind} is not closed")
        self._at += len(name) + 4
        return name


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 4
