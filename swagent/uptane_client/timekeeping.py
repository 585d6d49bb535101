"""The verified time of one ECU across its cycles, kept with the monotonic clock of the boot it was attested in."""

from swagent.clock import Clock
from swagent.uptane.attested import Attested, BadTimeSignature, VerifiedClock, accept
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import Key

from .vehicle import Vehicle

BAD_SIGNATURE = "Timeserver attestation had bad signature."


class TimeKeeper:
    """What time it is, as far as a Time server vouches for it.

    Args:
        memory: where the last attested time is kept.
        codec: the encoding of attestations.
        key: the Time server's, None where there is none; then the system's clock is all there is.
        clock: the monotonic clock, and the system's.
        boot_id: names the present boot; an attested time of another one is only a floor.
        fresh_s: how old an attested time may be.
        system_time: whether the system's clock may stand in for it.
    """

    def __init__(
        self,
        memory: Vehicle,
        codec: Codec,
        key: Key | None,
        clock: Clock,
        *,
        boot_id: str,
        fresh_s: float,
        system_time: bool = False,
    ) -> None:
        self._memory = memory
        self._codec = codec
        self._key = key
        self._clock = clock
        self._boot_id = boot_id
        self._fresh_s = fresh_s
        self._system_time = system_time or key is None
        self.attested = self._load()

    def _load(self) -> Attested:
        known = self._memory.fact("attested")
        if known is None:
            return Attested(0, 0, None)
        same_boot = known["boot_id"] == self._boot_id
        return Attested(
            known["time_s"],
            known["previous_s"],
            known["monotonic_s"] if same_boot else None,
            bytes.fromhex(known["raw"]),
        )

    @property
    def wants_attestation(self) -> bool:
        """Whether there is a key to judge attestations by."""
        return self._key is not None

    def take(self, raw: bytes, nonces: tuple[int, ...]) -> None:
        """Judge an attestation that shall answer these nonces, and keep its time.

        Raises:
            AttestedTimeError: it does not pass; the time is what it was, and a bad signature is noted for the report.
        """
        if self._key is None:
            return
        try:
            self.attested = accept(
                raw, self._codec, self._key, nonces, self.attested, monotonic_s=self._clock.monotonic_s()
            )
        except BadTimeSignature:
            self._memory.note_attack(BAD_SIGNATURE)
            raise
        self._memory.keep_fact(
            "attested",
            {
                "time_s": self.attested.time_s,
                "previous_s": self.attested.previous_s,
                "monotonic_s": self.attested.at_monotonic_s,
                "boot_id": self._boot_id,
                "raw": self.attested.raw.hex(),
            },
        )

    def now_s(self) -> float:
        """The verified time.

        Raises:
            AttestedTimeError: there is none that is fresh enough.
        """
        fallback = self._clock.now_s if self._system_time else None
        return VerifiedClock(
            self.attested, self._clock.monotonic_s, fresh_s=self._fresh_s, fallback_s=fallback
        ).now_s()
