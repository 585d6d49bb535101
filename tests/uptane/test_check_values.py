"""Values that the reference implementation's own decoder and verifier accepted."""

from hashlib import sha256, sha512

import pytest

from swagent.crypto.schemes import from_seed
from swagent.uptane.codecs import codec
from swagent.uptane.metadata import Key, Target, Targets
from swagent.uptane.reports import TimeAttestation
from swagent.uptane.signing import Signer

SEED = bytes(range(32))
PUBLIC = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
TIME = TimeAttestation((7, 300), 1_700_000_000)


def test_public_value() -> None:
    assert from_seed(SEED).public == PUBLIC


@pytest.mark.parametrize(
    ("dialect", "keyid"),
    [
        ("ref-json", "7ca0a4308c951403d1be979145649bdb55391a25b0e681fff35e51a8345ce387"),
        ("ref-der", "7ca0a4308c951403d1be979145649bdb55391a25b0e681fff35e51a8345ce387"),
        ("ak", "630b5e8814a0a3843653c721f5a8203a7679a153e44808bec3c15acf0a846b6e"),
        ("tuf1", "63d00ee3cf4f5c61ad94efa696c68f13b608fe56ecea13fb144a6fd18e9235b9"),
    ],
)
def test_key_identifiers(dialect: str, keyid: str) -> None:
    assert codec(dialect).keyid(Key("", "ed25519", "ed25519", PUBLIC)) == keyid


@pytest.mark.parametrize(
    ("public", "keyid"),
    [
        (
            "5d7750b208dfc7ade8f6106b9c3fa25162d5a184f302161e429f19a79e66a908",
            "79c796d7e87389d1ebad04edce49faef611d139ee41ea9fb1931732afbfaac2e",
        ),
    ],
)
def test_the_demo_key(public: str, keyid: str) -> None:
    assert codec("ref-json").keyid(Key("", "ed25519", "ed25519", public)) == keyid


def test_time_attestation_in_der() -> None:
    der = codec("ref-der")
    raw = der.encode_time(TIME, Signer(from_seed(SEED), der))
    assert len(raw) == 133
    assert sha256(raw).hexdigest() == "59d968680b3c539ed198c41ecd0c795636e628ebb26aa9cfca9c01e5aa02c78a"
    found = der.decode_time(raw)
    assert found.content == TIME
    assert found.message.hex() == "a711b56497513cdd347be0351892c5d127dffbf39fcfbc9aba13605d8ab9c52f"


def test_time_attestation_in_json() -> None:
    ref = codec("ref-json")
    found = ref.decode_time(ref.encode_time(TIME, Signer(from_seed(SEED), ref)))
    assert found.message == b'{"nonces":[7,300],"time":"2023-11-14T22:13:20Z"}'
    assert found.signatures[0].value.hex() == (
        "a0a324fa9753f88fbc7948eba7347a56c4f32b1dd1270f7b1fb7cb12e56a59e2"
        "cddb8dd742880a9b69752b2d6e0340a2fa94d5ca270a6de006b728b61f297904"
    )


def test_director_targets_in_der() -> None:
    image = b"Fresh firmware image"
    hashes = {"sha256": sha256(image).hexdigest(), "sha512": sha512(image).hexdigest()}
    body = Targets({"firmware.img": Target("firmware.img", len(image), hashes, {"TCUdemocar": ""})})
    der = codec("ref-der")
    raw = der.encode(body, version=2, expires_s=2_000_000_000, signers=(Signer(from_seed(SEED), der),))
    assert len(raw) == 294
    assert sha256(raw).hexdigest() == "17488d61d28b3fba559efee52187a15eb116ac03d966d3f3cbccca323f2ae2f0"
    found = der.decode(raw)
    assert found.body == body
    assert found.message.hex() == "4db28b7482ae0a621396a5a1d9ba45ef6f0a75a2abd007344afa10b43a7ec079"
    assert (found.version, found.expires_s) == (2, 2_000_000_000)
