"""What XML-RPC can say: the bytes are those of ``xmlrpc.client`` where that has words."""

from typing import Any
from xmlrpc.client import dumps, loads

import pytest

from swagent.net.rpcwords import answer_body, call_body

VALUES: list[Any] = [
    0, -1, 2**31 - 1, -(2**31), True, None, "", "text & <more>\n\ttab", b"\x00\xff" * 99, 1.5,
    {"a": [1, {"b": "c"}], "é": "…"}, [],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_same_bytes(value: Any) -> None:
    assert call_body("a_method", (value, "b")) == dumps((value, "b"), "a_method", allow_none=True).encode()
    assert answer_body(value) == dumps((value,), methodresponse=True, allow_none=True).encode()


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])
def test_long_numbers(number: int) -> None:
    ((found,), _) = loads(answer_body({"length": number}), use_builtin_types=True)
    assert found == {"length": number}


@pytest.mark.parametrize(
    "value",
    [2**63, "\x00", "\x0b", "\x1f", "\ufffe", "\ud800", {"\x01": 1}, {1: 2}, object(), [{"a": ["\x02"]}]],
)
def test_no_words(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        call_body("a_method", (value,))


def test_no_words_for_what_has_no_end() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match=r"."):
        answer_body(value)
