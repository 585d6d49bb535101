"""What time it is, as a Time server attests it (Standard §5.4.2; uptane deployment, "External sources of time").

An attestation answers nonces of one's own; its time never goes back; between two of them a monotonic clock goes on.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from swagent.crypto import schemes
from swagent.errors import AttestedTimeError

from .codecs.base import Codec, NotUnderstood, write_time
from .metadata import Key
from .reports import TimeAttestation

NONCE_MAX = 2**31 - 1
"""XML-RPC's largest number."""
ATTESTATION_MAX_BYTES = 64 * 1024


class BadTimeSignature(AttestedTimeError):
    """An attestation that the Time server did not sign."""


class BadTimeAttestation(AttestedTimeError):
    """An attestation that does not answer, goes back, or cannot be understood."""


class Attested(NamedTuple):
    """A time that was verified.

    Attributes:
        time_s: seconds since the epoch.
        previous_s: the one before it.
        at_monotonic_s: what the monotonic clock said when it was accepted; None for one of an earlier start, of
            which only the floor remains.
        raw: the attestation, to hand on.
    """

    time_s: int
    previous_s: int
    at_monotonic_s: float | None
    raw: bytes = b""


def accept(
    raw: bytes,
    codec: Codec,
    key: Key,
    sent: Iterable[int],
    before: Attested,
    *,
    monotonic_s: float,
) -> Attested:
    """Judge an attestation.

    Args:
        raw: as it came.
        codec: its encoding.
        key: the Time server's public key, as provisioned.
        sent: the nonces that it must answer; at least one.
        before: the last time that was accepted.
        monotonic_s: what the monotonic clock says now.

    Raises:
        BadTimeSignature: the Time server did not sign it, or not alone.
        BadTimeAttestation: not understood, a nonce is missing, or it is earlier than the last one.
    """
    try:
        if len(raw) > ATTESTATION_MAX_BYTES:
            raise NotUnderstood(f"it has {len(raw)} bytes")
        found = codec.decode_time(raw)
    except NotUnderstood as exc:
        raise BadTimeAttestation(f"the time attestation cannot be understood: {exc}", role="time") from exc
    signatures = found.signatures
    if len(signatures) != 1 or not _is_signed(key, found.message, signatures[0].value):
        raise BadTimeSignature(
            "the Time server did not sign the time attestation",
            role="time",
            expected=f"one signature by {key.keyid[:8]}",
            found=", ".join(signature.keyid[:8] for signature in signatures[:8]) or "none",
        )
    attestation: TimeAttestation = found.content
    nonces = frozenset(sent)
    if not nonces or not nonces <= frozenset(attestation.nonces):
        raise BadTimeAttestation(
            "the time attestation does not answer what was asked: it may be an old one",
            role="time",
            expected="nonces " + ", ".join(map(str, sorted(nonces))),
            found=", ".join(map(str, attestation.nonces[:8])) or "none",
        )
    if attestation.time_s < before.time_s:
        raise BadTimeAttestation(
            "the time attestation is earlier than the last one",
            role="time",
            expected=f"not before {write_time(before.time_s)}",
            found=write_time(attestation.time_s),
        )
    return Attested(attestation.time_s, before.time_s, monotonic_s, raw)


class VerifiedClock:
    """The time that expiry is judged by.

    Args:
        attested: the last time that was accepted.
        monotonic_s: the monotonic clock.
        fresh_s: how old an attestation may be.
        fallback_s: the system's clock, where policy allows it; never taken to be before the attested time.
    """

    def __init__(
        self,
        attested: Attested,
        monotonic_s: Callable[[], float],
        *,
        fresh_s: float,
        fallback_s: Callable[[], float] | None = None,
    ) -> None:
        self._attested = attested
        self._monotonic_s = monotonic_s
        self._fresh_s = fresh_s
        self._fallback_s = fallback_s

    def now_s(self) -> float:
        """Seconds since the epoch.

        Raises:
            AttestedTimeError: there is no attestation, or it is too old.
        """
        known, since = self._attested, self._attested.at_monotonic_s
        if since is not None:
            passed_s = self._monotonic_s() - since
            if 0 <= passed_s <= self._fresh_s:
                return known.time_s + passed_s
        if self._fallback_s is not None:
            return max(self._fallback_s(), float(known.time_s))
        raise AttestedTimeError(
            "no attested time is fresh enough, so nothing can be updated",
            role="time",
            expected=f"an attestation within the last {self._fresh_s:.0f} s",
            found="none since the start" if since is None else f"one {self._monotonic_s() - since:.0f} s ago",
            hint="see that the Time server can be reached; policy may allow the system's clock",
        )


def _is_signed(key: Key, message: bytes, signature: bytes) -> bool:
    try:
        return schemes.load(key.scheme, key.public).made(signature, message)
    except ValueError:
        return False
