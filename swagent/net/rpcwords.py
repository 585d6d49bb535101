"""Values as XML-RPC has words for them: also integers of 64 bits (``i8``), and no text that XML cannot hold.

``xmlrpc.client`` alone refuses the one, and writes the other all the same.
"""

import re
from functools import cache
from typing import Any

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def call_body(method: str, params: tuple[Any, ...]) -> bytes:
    """A call; ``bytes`` travel as base64, None as nil.

    Raises:
        ValueError: there are no words for it.
    """
    return _document(f"<methodCall>\n<methodName>{method}</methodName>\n{_written(params)}</methodCall>\n")


def answer_body(value: Any) -> bytes:
    """The answer to a call. See ``call_body``."""
    return _document(f"<methodResponse>\n{_written((value,))}</methodResponse>\n")


def _document(text: str) -> bytes:
    return f"<?xml version='1.0'?>\n{text}".encode()


def _written(params: tuple[Any, ...]) -> str:
    try:
        text: str = _marshaller()(None, allow_none=True).dumps(params)
    except (TypeError, OverflowError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc
    found = _NOT_XML.search(text)
    if found is not None:
        raise ValueError(f"the character {found[0]!a} in a text")
    return text


@cache
def _marshaller() -> Any:
    from xmlrpc.client import Marshaller

    class Words(Marshaller):
        """With what its base class leaves out."""

        dispatch = dict(Marshaller.dispatch)  # noqa: RUF012 - as the base class has it

        def dump_any_int(self, value: int, write: Any) -> None:
            if not -(2**63) <= value < 2**63:
                raise OverflowError(f"the number {value} has more than 64 bits")
            word = "int" if -(2**31) <= value < 2**31 else "i8"
            write(f"<value><{word}>{value}</{word}></value>\n")

        dispatch[int] = dump_any_int  # type: ignore[assignment]  # a table of its own methods

    return Words
