"""Files that the reference implementation made: they decode, verify, and in DER come out byte for byte again."""

import json
from pathlib import Path
from typing import Any

import pytest

from swagent.crypto.schemes import load
from swagent.uptane.codecs import codec
from swagent.uptane.codecs.base import Codec, NotUnderstood
from swagent.uptane.metadata import Document, Key, Signature

HERE = Path(__file__).parent / "vectors" / "reference"
FILES = sorted(path for path in HERE.rglob("*.*") if path.suffix == ".der" or path.parent.name == "metadata")
REPORTS = sorted(HERE.glob("sample_*"))


def keys() -> dict[str, Key]:
    reference = codec("ref-json")
    found = {}
    for public in json.loads((HERE / "public-keys.json").read_text()).values():
        key = Key("", "ed25519", "ed25519", public)
        found[reference.keyid(key)] = key._replace(keyid=reference.keyid(key))
    return found


KEYS = keys()


def codec_of(path: Path) -> Codec:
    return codec("ref-der" if path.suffix == ".der" else "ref-json")


def decode(path: Path, raw: bytes) -> Any:
    encoding = codec_of(path)
    if "ecu_manifest" in path.name:
        return encoding.decode_ecu_report(raw)
    if "vehicle" in path.name:
        return encoding.decode_vehicle_report(raw)
    if "timeserver" in path.name:
        return encoding.decode_time(raw)
    return encoding.decode(raw)


class Again:
    """Gives the signature that is there already."""

    def __init__(self, signature: Signature) -> None:
        self.key = KEYS[signature.keyid]
        self._value = signature.value

    def sign(self, message: bytes) -> bytes:
        assert load(self.key.scheme, self.key.public).made(self._value, message)
        return self._value


def names(path: Path) -> str:
    return str(path.relative_to(HERE))


def test_there_are_files() -> None:
    assert len(FILES) >= 16
    assert len(REPORTS) == 12


@pytest.mark.parametrize("path", [*FILES, *REPORTS], ids=names)
def test_it_verifies(path: Path) -> None:
    found = decode(path, path.read_bytes())
    (signature,) = found.signatures
    key = KEYS[signature.keyid]
    assert load(key.scheme, key.public).made(signature.value, found.message)
    assert not load(key.scheme, key.public).made(signature.value, found.message + b"!")


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "metadata"], ids=names)
def test_it_comes_out_as_it_was(path: Path) -> None:
    raw = path.read_bytes()
    found: Document = codec_of(path).decode(raw)
    signers = tuple(Again(signature) for signature in found.signatures)
    again = codec_of(path).encode(
        found.body, version=found.version, expires_s=found.expires_s, signers=signers
    )
    assert again == raw


@pytest.mark.parametrize("path", [path for path in REPORTS if path.suffix == ".der"], ids=names)
def test_a_report_comes_out_as_it_was(path: Path) -> None:
    raw = path.read_bytes()
    encoding = codec_of(path)
    if "ecu_manifest" in path.name:
        ecu = encoding.decode_ecu_report(raw)
        assert encoding.encode_ecu_report(ecu.content, Again(ecu.signatures[0])) == raw
    elif "vehicle" in path.name:
        vehicle = encoding.decode_vehicle_report(raw)
        assert encoding.encode_vehicle_report(vehicle.content, Again(vehicle.signatures[0])) == raw
    else:
        time = encoding.decode_time(raw)
        assert encoding.encode_time(time.content, Again(time.signatures[0])) == raw


@pytest.mark.parametrize("path", [path for path in [*FILES, *REPORTS] if path.suffix == ".der"], ids=names)
def test_every_cut_and_every_byte_too_many_is_noticed(path: Path) -> None:
    raw = path.read_bytes()
    for end in range(len(raw)):
        with pytest.raises(NotUnderstood):
            decode(path, raw[:end])
    with pytest.raises(NotUnderstood):
        decode(path, raw + b"\0")
