"""``--ecu-key pkcs11:…``: a Primary whose key never leaves its token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.uptane.codecs import codec
from swagent.uptane.trust import judge_signatures
from tests.crypto.softhsm import Token

from .test_update import SERIAL, Vehicle

pkcs11 = pytest.importorskip("pkcs11", reason="needs python-pkcs11: pip install python-pkcs11")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    made = Token(tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    yield made
    pkcs11.unload(made.module)  # its C library read the variable once


@pytest.mark.parametrize(
    ("dialect", "kind"), [("tuf1", "rsa:2048"), ("tuf1", "EC:prime256v1"), ("ak", "rsa:2048")]
)
def test_reports_are_signed_there(
    quick_path: Path, capfd: pytest.CaptureFixture[str], token: Token, dialect: str, kind: str
) -> None:
    from swagent.crypto.schemes import open_private
    from swagent.uptane.metadata import RoleKeys
    from swagent.uptane.signing import Signer

    token.generate("ecu", 1, kind)
    vehicle = Vehicle(quick_path, dialect, capfd)
    vehicle.provision()
    service = quick_path / "service"
    code, _ = vehicle.update("--ecu-key", token.uri("ecu"), "--director-service", service.as_uri())
    assert code == 0
    assert not (quick_path / "state" / "ecu.key").exists()
    encoding = codec(dialect)
    key = Signer(open_private(token.uri("ecu")), encoding).key
    (path,) = service.iterdir()
    report = encoding.decode_vehicle_report(path.read_bytes())
    who = RoleKeys((key.keyid,), 1)
    for found in (report, encoding.decode_ecu_report(report.content.ecus[SERIAL][0])):
        judge_signatures(found.message, found.signatures, {key.keyid: key}, who, repository="", role="report")


def test_a_wrong_pin_is_told_without_it(
    quick_path: Path, capfd: pytest.CaptureFixture[str], token: Token
) -> None:
    token.generate("ecu", 1, "rsa:2048")
    vehicle = Vehicle(quick_path, "tuf1", capfd)
    vehicle.provision()
    token.pin_file.write_text("not the pin\n")
    code, lines = vehicle.update("--ecu-key", token.uri("ecu"))
    assert code == 70
    assert "PIN is wrong" in lines[-1]["error"]["message"] + lines[-1]["message"]
    assert "not the pin" not in str(lines)
