import pytest

from swagent.bootloader.envflags import check
from swagent.errors import BootEnvError


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("v:s", ["", "anything"], []),
        ("v:d", ["0", "12", "-1"], ["", "1a", "0x1", "-", "1\n"]),
        ("v:x", ["0", "0xAb", "ff"], ["", "0x", "xyz"]),
        ("v:b", ["0", "1", "y", "N", "t", "F"], ["", "2", "yes"]),
        (
            "v:i",
            ["1.2.3.4", "255.255.255.255", "0.0.0.0"],
            ["1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.4.", ""],
        ),
        ("v:m", ["00:11:22:aa:BB:cc"], ["00:11:22:aa:BB", "0:1:2:3:4:5", "00:11:22:aa:BB:cg"]),
        ("v", ["anything"], []),
        ("v:sa", ["anything"], []),
        ("other:dr, v:d", ["1"], ["x"]),
        ("vv:dr,v2:dr", ["x"], []),
    ],
)
def test_types(rule: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        check(rule, {}, {"v": value})
    for value in bad:
        with pytest.raises(BootEnvError):
            check(rule, {}, {"v": value})


@pytest.mark.parametrize(
    ("rule", "stored", "allowed"),
    [
        ("v:sr", {}, False),
        ("v:sr", {"v": "1"}, False),
        ("v:so", {}, True),
        ("v:so", {"v": "1"}, False),
        ("v:sc", {"v": "1"}, False),
        ("v:sa", {"v": "1"}, True),
    ],
)
def test_access(rule: str, stored: dict[str, str], allowed: bool) -> None:
    changes: list[dict[str, str | None]] = [{"v": "2"}]
    if stored:
        changes.append({"v": None})
    for change in changes:
        if allowed:
            check(rule, stored, change)
        else:
            with pytest.raises(BootEnvError):
                check(rule, stored, change)
    check(rule, stored, {"v": stored.get("v")})
    check(rule, stored, {"w": "2"})
