"""Strict DER: what is read is what was written, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.crypto import der


@given(st.sampled_from([der.OCTET_STRING, der.SEQUENCE, der.CONTEXT_0]), st.binary(max_size=70000))
def test_a_value_comes_back(tag: int, body: bytes) -> None:
    raw = der.write(tag, body)
    assert der.read(raw, tag) == (tag, body, raw)


@given(st.integers(0, 1 << 200))
def test_an_integer_comes_back(number: int) -> None:
    assert der.integer(der.read(der.write_integer(number), der.INTEGER).body) == number


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 1 << 60), max_size=6))
def test_an_object_identifier_comes_back(first: int, second: int, arcs: list[int]) -> None:
    dotted = ".".join(map(str, [first, second, *arcs]))
    assert der.oid(der.read(der.write_oid(dotted), der.OID).body) == dotted


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "cut short"),
        ("30", "cut short"),
        ("3001", "cut short"),
        ("3082", "cut short"),
        ("3080 0000", "DER does not know"),
        ("3085 0000000001 00", "DER does not know"),
        ("3081 01 00", "longer than it needs"),
        ("3082 0001 00", "longer than it needs"),
        ("3f01 00", "several bytes"),
        ("3000 00", "follow the end"),
        ("0400", "0x04 found"),
    ],
)
def test_what_der_does_not_allow(raw: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        der.read(bytes.fromhex(raw), der.SEQUENCE)


@pytest.mark.parametrize("body", ["", "80", "8001", "2a80", "2a8001", "ff" * 12 + "01"])
def test_malformed_object_identifiers(body: str) -> None:
    with pytest.raises(ValueError, match="object identifier"):
        der.oid(bytes.fromhex(body))


@pytest.mark.parametrize("body", ["", "0001", "ffff"])
def test_malformed_integers(body: str) -> None:
    with pytest.raises(ValueError, match="integer"):
        der.integer(bytes.fromhex(body))


def test_negative_integers_are_read_as_such() -> None:
    assert der.integer(b"\xff") == -1


def test_fields_in_order() -> None:
    body = der.write_integer(5) + der.write(der.NULL)
    fields = der.Fields(body, "pair")
    assert fields.maybe(der.NULL) is None
    assert der.integer(fields.take(der.INTEGER).body) == 5
    with pytest.raises(ValueError, match="pair has more fields"):
        fields.end()
    with pytest.raises(ValueError, match="pair lacks"):
        fields.take(der.INTEGER)
    assert [item.tag for item in fields.rest()] == [der.NULL]
    fields.end()
