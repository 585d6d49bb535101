import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("10", 10),
        ("010", 8),
        ("0x10", 16),
        ("1k", 1024),
        ("2K", 2048),
        ("3M", 3 << 20),
        ("1G", 1 << 30),
        ("1KiB", 1024),
        ("1MB", 1 << 20),
        ("1Gi", 1 << 30),
        (" 7 ", 7),
        ("9223372036854775807", 2**63 - 1),
        ("1kiB", 1024),
        ("2Mi", 2 << 20),
        ("1g", 1 << 30),
    ],
)
def test_a_size_is_read_as_c_reads_it(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "8589934592G",
        "",
        "K",
        "1T",
        "1 K",
        "1KK",
        "0x",
        "08",
        "+1",
        "\u0661",
        "9" * 100,
    ],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number such as|is too large") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 100


@given(st.integers(0, 2**62))
def test_numbers_in_every_base(number: int) -> None:
    assert parse_size(str(number)) == parse_size(hex(number)) == parse_size(f"0{number:o}") == number
