"""The Time server, against the values that the reference's own code agrees with."""

from hashlib import sha256
from typing import Any

import pytest

from swagent.crypto.schemes import from_seed
from swagent.uptane.attested import Attested, BadTimeAttestation, BadTimeSignature, accept
from swagent.uptane.codecs import NAMES, codec
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane_server.time_server import TimeServer

from .office import StandingClock

KEY = from_seed(bytes(range(32)))
CLOCK = StandingClock(1_700_000_000)


def test_the_bytes_that_the_reference_takes() -> None:
    server = TimeServer(KEY, CLOCK, "ref-der")
    raw = server.get_signed_time_der([7, 300])
    assert len(raw) == 133
    assert sha256(raw).hexdigest() == "59d968680b3c539ed198c41ecd0c795636e628ebb26aa9cfca9c01e5aa02c78a"
    assert server.get_signed_time([7, 300]) == {
        "signed": {"nonces": [7, 300], "time": "2023-11-14T22:13:20Z"},
        "signatures": [
            {
                "keyid": "7ca0a4308c951403d1be979145649bdb55391a25b0e681fff35e51a8345ce387",
                "method": "ed25519",
                "sig": "a0a324fa9753f88fbc7948eba7347a56c4f32b1dd1270f7b1fb7cb12e56a59e2"
                "cddb8dd742880a9b69752b2d6e0340a2fa94d5ca270a6de006b728b61f297904",
            }
        ],
    }


@pytest.mark.parametrize("dialect", NAMES)
def test_a_vehicle_takes_the_answer_to_its_own_question(dialect: str) -> None:
    server, encoding = TimeServer(KEY, CLOCK, dialect), codec(dialect)
    raw = server.attest([1, 2, 3], encoding.extension)
    key = server.key(encoding.extension)
    before = Attested(0, 0, None)
    assert accept(raw, encoding, key, (2,), before, monotonic_s=5.0).time_s == 1_700_000_000
    with pytest.raises(BadTimeAttestation):
        accept(raw, encoding, key, (4,), before, monotonic_s=5.0)
    stranger = TimeServer(from_seed(b"x" * 32), CLOCK, dialect).attest([2], encoding.extension)
    with pytest.raises(BadTimeSignature):
        accept(stranger, encoding, key, (2,), before, monotonic_s=5.0)


@pytest.mark.parametrize("nonces", [[-1], [2**31], ["7"], [True], [1.0], [None], [1] * 1025])
def test_numbers_that_nobody_asks_with(nonces: Any) -> None:
    server = TimeServer(KEY, CLOCK)
    for method in (server.get_signed_time, server.get_signed_time_der):
        with pytest.raises(InvalidMetadata):
            method(nonces)


def test_no_numbers_and_the_most() -> None:
    server = TimeServer(KEY, CLOCK)
    for nonces in ([], [2**31 - 1] * 1024):
        assert server.get_signed_time(nonces)["signed"]["nonces"] == nonces
        assert codec("ref-der").decode_time(server.get_signed_time_der(nonces)).content.nonces == tuple(
            nonces
        )
