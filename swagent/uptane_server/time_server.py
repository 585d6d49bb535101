"""The Time server: signs what time it is together with the numbers that it was asked with (uptane §3)."""

from collections.abc import Sequence
from typing import Any

from swagent.clock import Clock
from swagent.crypto.schemes import Signing
from swagent.uptane.attested import NONCE_MAX
from swagent.uptane.canonical import load
from swagent.uptane.codecs import codec
from swagent.uptane.errors import InvalidMetadata
from swagent.uptane.metadata import Key
from swagent.uptane.reports import TimeAttestation
from swagent.uptane.signing import Signer

NONCES_MAX = 1024
"""As many as the reference's types allow."""
DER = "ref-der"


class TimeServer:
    """Answers from any thread.

    Args:
        key: what attestations are signed with.
        clock: the time that is attested.
        dialect: the encoding of attestations; of those in JSON the reference's where this is DER.
    """

    def __init__(self, key: Signing, clock: Clock, dialect: str = "tuf1") -> None:
        self._clock = clock
        names = {"json": "ref-json" if dialect == DER else dialect, "der": DER}
        self._codecs = {extension: codec(name) for extension, name in names.items()}
        self._signers = {extension: Signer(key, each) for extension, each in self._codecs.items()}

    def key(self, extension: str) -> Key:
        """The public half, as vehicles that speak ``json`` or ``der`` are provisioned with it."""
        return self._signers[extension].key

    def attest(self, nonces: Sequence[int], extension: str) -> bytes:
        """The time, signed together with these nonces, as ``json`` or ``der``.

        Raises:
            InvalidMetadata: no nonces that anybody would ask with.
        """
        if len(nonces) > NONCES_MAX or not all(
            isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= NONCE_MAX for one in nonces
        ):
            raise InvalidMetadata(f"nonces are at most {NONCES_MAX} numbers from 0 to {NONCE_MAX}")
        attestation = TimeAttestation(tuple(nonces), int(self._clock.now_s()))
        return self._codecs[extension].encode_time(attestation, self._signers[extension])

    # -- as the reference's methods

    def get_signed_time(self, nonces: Sequence[int]) -> Any:
        """In JSON, as nested values. Raises as ``attest``."""
        return load(self.attest(nonces, "json"))

    def get_signed_time_der(self, nonces: Sequence[int]) -> bytes:
        """In DER. Raises as ``attest``."""
        return self.attest(nonces, "der")
