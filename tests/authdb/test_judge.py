"""The rules, held against a table that was not made from the code: what the document says of each situation."""

import itertools
from pathlib import Path

import pytest

from swagent.authdb.activation import DOMAIN
from swagent.authdb.judge import Step
from swagent.authdb.layout import Matching
from swagent.crypto import schemes
from swagent.errors import AuthorizationRefused

from .databases import NOW_S, Told, a_list, check, make

UNIT = {"msn": "SN1", "model_number": "M1", "image_version": "1.0"}

# What one type's lists hold -> whether the unit passes it (authorization db §3)
ALLOW = {"absent": None, "empty": (), "other": ("SN0", "SN11", "N1"), "match": ("SN0", "SN1")}
DENY = {"absent": None, "empty": (), "other": ("SN0", "SN12"), "match": ("SN1",)}
TABLE = {
    ("absent", "absent"): True,
    ("absent", "empty"): True,
    ("absent", "other"): True,
    ("absent", "match"): False,
    ("empty", "absent"): False,
    ("empty", "empty"): False,
    ("empty", "other"): False,
    ("empty", "match"): False,
    ("other", "absent"): False,
    ("other", "empty"): False,
    ("other", "other"): False,
    ("other", "match"): False,
    ("match", "absent"): True,
    ("match", "empty"): True,
    ("match", "other"): True,
    ("match", "match"): False,
}


def lists_of(name: str, allow: str, deny: str, datum: str) -> list:  # type: ignore[type-arg]
    found = []
    for effect, which in (("allow", ALLOW[allow]), ("deny", DENY[deny])):
        if which is not None:
            own = [record.replace("SN1", datum) if record == "SN1" else record for record in which]
            found.append(a_list(name, *own, allow=effect == "allow"))
    return found


def passes(path: Path, unit: dict[str, str]) -> bool:
    try:
        check(path, unit)
    except AuthorizationRefused:
        return False
    return True


@pytest.mark.parametrize(("allow", "deny"), TABLE)
def test_one_type(tmp_path: Path, allow: str, deny: str) -> None:
    lists = lists_of("msn", allow, deny, "SN1")
    for order in itertools.permutations(lists):
        assert passes(make(tmp_path / "x.db", order), UNIT) is TABLE[allow, deny]


def test_every_type_must_pass(tmp_path: Path) -> None:
    for number, (one, two, three) in enumerate(itertools.product(TABLE, repeat=3)):
        if number % 29 and not (TABLE[one] and TABLE[two] and TABLE[three]):
            continue  # all that pass, and some of those that do not
        lists = [
            *lists_of("image_version", *one, "1.0"),
            *lists_of("msn", *two, "SN1"),
            *lists_of("model_number", *three, "M1"),
        ]
        expected = TABLE[one] and TABLE[two] and TABLE[three]
        assert passes(make(tmp_path / "x.db", lists), UNIT) is expected, (one, two, three)


def test_an_empty_database_restricts_nothing(tmp_path: Path) -> None:
    assert check(make(tmp_path / "x.db", []), {}) == []


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize("records", [(), ("SN1",)])
def test_an_unknown_type_is_refused(tmp_path: Path, allow: bool, records: tuple[str, ...]) -> None:
    path = make(tmp_path / "x.db", [a_list("msn", "SN1"), a_list("colour", *records, allow=allow)])
    told = Told(UNIT)
    with pytest.raises(AuthorizationRefused, match="'colour', which is not known"):
        check(path, told)
    assert told.asked == []


def test_the_version_of_the_image_is_asked_last_and_only_if_it_matters(tmp_path: Path) -> None:
    path = make(
        tmp_path / "x.db",
        [a_list("image_version", "1.0"), a_list("model_number", "M1"), a_list("msn", "SN1")],
    )
    told = Told(UNIT)
    steps = check(path, told)
    assert told.asked == ["msn", "model_number", "image_version"]
    assert steps == [Step("checking", name, UNIT[name]) for name in told.asked]
    told = Told({**UNIT, "msn": "SN2"})
    with pytest.raises(AuthorizationRefused, match="msn SN2 is not in the allow list"):
        check(path, told)
    assert told.asked == ["msn"]


def test_a_datum_that_cannot_be_told_is_refused_even_by_a_deny_list(tmp_path: Path) -> None:
    path = make(tmp_path / "x.db", [a_list("msn", allow=False)])
    with pytest.raises(AuthorizationRefused, match="msn: nobody tells"):
        check(path, {})


def test_lists_of_one_type_in_several_ways_must_all_be_satisfied(tmp_path: Path) -> None:
    both = [a_list("msn", "SN*", matching=Matching.GLOB), a_list("msn", "SN1")]
    assert passes(make(tmp_path / "x.db", both), UNIT)
    assert not passes(make(tmp_path / "x.db", both), {"msn": "SN2"})
    denied = [
        a_list("msn", "SN*", matching=Matching.GLOB),
        a_list("msn", "?N1", matching=Matching.GLOB, allow=False),
    ]
    assert not passes(make(tmp_path / "x.db", denied), UNIT)
    assert passes(make(tmp_path / "x.db", denied), {"msn": "SN2"})


@pytest.mark.parametrize(
    ("name", "record", "fits"),
    [
        ("date", "2026-07-01", True),
        ("date", "2026-07-02", False),
        ("date", "2026-01-01..2026-07-01", True),
        ("date", "2026-07-02..2026-12-31", False),
        ("date", "..2026-07-01", True),
        ("date", "2026-07-02..", False),
        ("date", "2026-12-31..2026-01-01", False),
        ("time", "11:00..12:00", True),
        ("time", "22:00..06:00", False),
        ("time", "11:30..06:00", True),
        ("time", "12:01..", False),
    ],
)
def test_windows_of_time(tmp_path: Path, name: str, record: str, fits: bool) -> None:
    path = make(tmp_path / "x.db", [a_list(name, record)])
    assert passes(path, {}) is fits
    assert passes(make(tmp_path / "y.db", [a_list(name, record, allow=False)]), {}) is not fits


@pytest.mark.parametrize("record", ["tomorrow", "..", "2026-13-01", "12:00Z"])
@pytest.mark.parametrize("name", ["date", "time"])
@pytest.mark.parametrize("allow", [True, False])
def test_windows_that_are_none(tmp_path: Path, name: str, record: str, allow: bool) -> None:
    assert not passes(make(tmp_path / "x.db", [a_list(name, record, allow=allow)]), {})


def test_dates_go_by_patterns_too(tmp_path: Path) -> None:
    assert NOW_S
    assert passes(make(tmp_path / "x.db", [a_list("date", "2026-0[67]-*", matching=Matching.GLOB)]), {})


def test_activation_codes_are_bound_to_the_serial(tmp_path: Path) -> None:
    import hmac

    key, secret = schemes.generate(), bytes(range(32))
    records = [f"ed25519:{key.public}", f"hmac-sha256:{secret.hex()}"]
    path = make(tmp_path / "x.db", [a_list("activation_code", *records, alg="aes-256-gcm")])
    codes = [key.sign(DOMAIN + b"SN1").hex(), hmac.digest(secret, DOMAIN + b"SN1", "sha256").hex()]
    for code in codes:
        assert check(path, {"msn": "SN1", "activation_code": code}) == [
            Step("checking", "activation_code", "(hidden)")
        ]
        assert not passes(path, {"msn": "SN2", "activation_code": code})
        assert not passes(path, {"msn": "SN1", "activation_code": code[:-2] + "00"})
    assert not passes(path, {"msn": "SN1", "activation_code": "no code"})
    assert not passes(path, {"activation_code": codes[0]})
    open_to_all = make(tmp_path / "y.db", [a_list("activation_code", records[1])])
    with pytest.raises(AuthorizationRefused, match="not encrypted"):
        check(open_to_all, {"msn": "SN1", "activation_code": codes[1]})
