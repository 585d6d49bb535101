"""The gate that asks UniAuth.db, from the command line to the codes on the lines of ``--json``."""

import re
import subprocess
from pathlib import Path

import pytest

from swagent.authdb import codes
from swagent.authdb.layout import Matching
from swagent.crypto import schemes
from swagent.events import Event
from tests.authdb.databases import a_list, make
from tests.authdb.units import SWAGENT, codes_of, configure, install, make_unit


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    return make_unit(tmp_path)


def test_without_a_database_nothing_is_restricted(unit: Path) -> None:
    code, events = install(unit)
    assert code == 0
    assert codes_of(events)[0] == codes.EV_UPGRADE
    assert codes_of(events)[-1] == codes.EV_COMPLETE
    assert not [event for event in events if event["event"].startswith("authorization.")]


def test_a_database_beside_the_image_lets_it_through(unit: Path) -> None:
    make(
        unit / "UniAuth.db",
        [
            a_list("image_version", "2.*", matching=Matching.GLOB),
            a_list("msn", "SN1"),
            a_list("model_number", "M2", allow=False),
        ],
    )
    code, events = install(unit)
    assert code == 0
    asked = [
        (event["list"], event["datum"]) for event in events if event["event"] == "authorization.checking"
    ]
    assert asked == [("msn", "SN1"), ("model_number", "M1"), ("image_version", "2.0")]
    assert len({event["session"] for event in events}) == 1
    assert events[0]["session"], "one session from its first line to its last"
    assert codes_of(events)[:6] == [
        codes.EV_UPGRADE,
        *[codes.EV_VERIFY_DATA] * 3,
        codes.EV_AUTH_PASS,
        codes.EV_INIT_SUCCESS,
    ]


def test_a_refusal_names_list_and_datum(unit: Path) -> None:
    make(unit / "UniAuth.db", [a_list("msn", "SN2")])
    code, events = install(unit)
    assert code == 32
    assert codes_of(events) == [
        codes.EV_UPGRADE,
        codes.EV_VERIFY_DATA,
        codes.EV_DATA_NOT_MATCH,
        codes.EV_INIT_ERROR,
    ]
    assert events[-1]["error"]["class"] == "AuthorizationRefused"
    assert events[-1]["error"]["message"] == "msn SN1 is not in the allow list"


def test_data_that_cannot_be_had(unit: Path) -> None:
    make(unit / "UniAuth.db", [a_list("msn", "SN1", allow=False)])
    for source in (
        f"file:{unit}/nothing",
        "dt:acme,none",
        "bootenv:none",
        "cmd:/bin/false",
        "smoke:signals",
        "",
    ):
        configure(unit, msn=source)
        code, events = install(unit)
        assert (code, codes_of(events)[-2]) == (32, codes.EV_DATA_NOT_MATCH)
        assert events[-1]["error"]["message"].startswith("msn: ")


def test_a_required_database_must_be_there(unit: Path) -> None:
    configure(unit, required=True)
    code, events = install(unit)
    assert (code, codes_of(events)[-2]) == (32, codes.EV_AUTH_DB_LOST)
    configure(unit, database=f"{unit}/elsewhere.db")
    assert install(unit)[0] == 32
    configure(unit, database=f"{unit}/elsewhere.db", required=False)
    assert install(unit)[0] == 0


def test_a_stream_has_no_folder(unit: Path) -> None:
    make(unit / "UniAuth.db", [a_list("msn", "SN2")])
    assert install(unit, "-")[0] == 0
    (unit / "installed").unlink()
    configure(unit, required=True)
    code, events = install(unit, "-")
    assert (code, codes_of(events)[-2]) == (32, codes.EV_AUTH_DB_LOST)


def test_databases_that_are_not_to_be_believed(unit: Path) -> None:
    key, other = schemes.generate("ecdsa-sha2-nistp256"), schemes.generate("ecdsa-sha2-nistp256")
    (unit / "db.pem").write_text(key.public)
    path = unit / "UniAuth.db"

    def refused() -> bool:
        code, events = install(unit)
        return (code, codes_of(events)[-2]) == (32, codes.EV_AUTH_DB_ERROR)

    configure(unit, public_key_file=f"{unit}/db.pem", msn="text:SN1")
    make(path, [a_list("msn", "SN1")])
    assert refused()
    make(path, [a_list("msn", "SN1")], signer=other)
    assert refused()
    make(path, [a_list("msn", "SN1"), a_list("colour", "red")], signer=key)
    assert refused()
    make(path, [a_list("msn", "SN1", alg="aes-256-gcm")], signer=key)  # its key is not configured
    assert refused()
    path.write_bytes(b"UNI\0")
    assert refused()
    make(path, [a_list("msn", "SN1")], signer=key)
    configure(unit, public_key_file=[f"{unit}/db.pem"], msn="text:SN1", project="other")
    assert refused()
    configure(unit, public_key_file=[f"{unit}/db.pem"], msn="text:SN1", project="test")
    assert install(unit)[0] == 0


def test_the_version_of_an_entry(unit: Path) -> None:
    make(unit / "UniAuth.db", [a_list("image_version", "7")])
    configure(unit, image_version="sw-description:app")
    assert install(unit)[0] == 0
    (unit / "installed").unlink()
    configure(unit, image_version="sw-description:none")
    assert install(unit)[0] == 32


@pytest.mark.parametrize(
    ("error", "code"),
    [("TransportError", 0x3003), ("PowerRefused", 0x300F), ("AuthorizationRefused", 0x3009)],
)
def test_codes_of_verdicts(error: str, code: int) -> None:
    facts = {"result": "refused", "error": {"class": error}}
    assert codes.code_of(Event("update.verdict", facts=facts)) == code
    assert (
        codes.code_of(Event("update.verdict", facts={"result": "failed", "error": {"class": "HashError"}}))
        == 0x300D
    )
    assert codes.code_of(Event("update.verdict", facts={"result": "checked", "error": None})) is None


def test_retired_codes_are_never_used() -> None:
    used = {value for name, value in vars(codes).items() if name.startswith("EV_")}
    assert not used & {0x3004, 0x3005, 0x3006, 0x3007}


def bring(folder: Path, more: str = "", *, first: bool = True) -> None:
    """The image with the database that lies beside it inside."""
    entries = [
        f'{{ filename = "UniAuth.db"; type = "dummy"; sha256 = "@UniAuth.db"; {more} }}',
        f'{{ filename = "motd"; path = "{folder}/installed"; type = "rawfile"; }}',
    ]
    text = (
        f'software = {{ version = "2.0"; files: ( {", ".join(entries if first else reversed(entries))} ); }};'
    )
    (folder / "sw-description").write_text(text)
    words = ["make", "-s", "sw-description", "-o", "update.swu", "--unsigned"]
    subprocess.run([SWAGENT, *words], cwd=folder, check=True, capture_output=True)
    (folder / "UniAuth.db").unlink()


@pytest.mark.parametrize("image", ["update.swu", "-"])
def test_a_database_in_the_image(unit: Path, image: str) -> None:
    configure(unit, required=True, msn="text:SN1")
    make(unit / "UniAuth.db", [a_list("msn", "SN2")])
    bring(unit)
    code, events = install(unit, image)
    assert (code, codes_of(events)[-2]) == (32, codes.EV_DATA_NOT_MATCH)
    make(unit / "UniAuth.db", [a_list("msn", "SN1")])
    bring(unit)
    code, events = install(unit, image)
    assert code == 0
    done = next(event for event in events if event["event"] == "authorization.done")
    assert done["databases"] == ["UniAuth.db in the image"]
    checked = subprocess.run(
        [SWAGENT, "check", "-f", "swupdate.cfg", "update.swu", "--allow-unsigned"],
        cwd=unit,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^authorization +yes$", checked.stdout, re.MULTILINE)


def test_the_one_in_the_image_and_the_one_beside_it_both_count(unit: Path) -> None:
    make(unit / "UniAuth.db", [a_list("msn", "SN1")])
    bring(unit)
    make(unit / "UniAuth.db", [a_list("msn", "SN1", allow=False)])
    assert install(unit)[0] == 32
    make(unit / "UniAuth.db", [a_list("model_number", "M1")])
    assert install(unit)[0] == 0


@pytest.mark.parametrize("image", ["update.swu", "-"])
def test_databases_in_images_that_are_not_to_be_believed(unit: Path, image: str) -> None:
    configure(unit, msn="text:SN1")
    make(unit / "UniAuth.db", [a_list("msn", "SN1")])
    bring(unit, first=False)
    assert install(unit, image)[0] == 10
    make(unit / "UniAuth.db", [a_list("msn", "SN1")])
    bring(unit)
    data = (unit / "update.swu").read_bytes()
    (unit / "update.swu").write_bytes(data.replace(b"UNI\0test", b"UNI\0best"))
    assert install(unit, image)[0] == 21
