"""What an encoding must be able to do, and the pieces that all of them check alike."""

import re
from collections.abc import Mapping
from typing import Protocol

from swagent.uptane.metadata import TOP_LEVEL, Body, Document, Key
from swagent.uptane.reports import EcuReport, Report, TimeAttestation, VehicleReport

ITEMS_MAX = 200_000
"""Entries of one list; what a file of the largest size that is read could hold."""

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z\Z", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+\Z", re.ASCII)
DIGEST_BYTES: Mapping[str, int] = {
    "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64, "sha512-224": 28, "sha512-256": 32,
}  # fmt: skip


class NotUnderstood(ValueError):
    """Bytes that are not of this encoding; whoever knows whose file it is makes a typed error of it."""


class SigningPair(Protocol):
    """A key that signs, and how metadata names it."""

    @property
    def key(self) -> Key:
        """The public half, with the identifier to use."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature by the key's scheme."""
        ...


class Codec(Protocol):
    """One encoding; it reads strictly and writes one form only.

    Attributes:
        name: as ``--dialect`` has it.
        extension: of file names, without the dot.
    """

    name: str
    extension: str

    def decode(self, raw: bytes, *, offline: bool = False) -> Document:
        """A role's file; with ``offline`` a snapshot or targets for updates from a medium, and nothing else.

        Raises NotUnderstood.
        """
        ...

    def encode(
        self,
        body: Body,
        *,
        version: int,
        expires_s: int,
        signers: "tuple[SigningPair, ...]",
        offline: bool = False,
    ) -> bytes:
        """A role's file, signed. Raises NotUnderstood for what this encoding has no words for."""
        ...

    def keyid(self, key: Key) -> str:
        """The identifier that writers of this encoding give a key."""
        ...

    def decode_ecu_report(self, raw: bytes) -> Report[EcuReport]:
        """An ECU version manifest. Raises NotUnderstood."""
        ...

    def encode_ecu_report(self, report: EcuReport, signer: SigningPair) -> bytes:
        """An ECU version manifest, signed."""
        ...

    def decode_vehicle_report(self, raw: bytes) -> Report[VehicleReport]:
        """A vehicle version manifest. Raises NotUnderstood."""
        ...

    def encode_vehicle_report(self, report: VehicleReport, signer: SigningPair) -> bytes:
        """A vehicle version manifest, signed."""
        ...

    def decode_time(self, raw: bytes) -> Report[TimeAttestation]:
        """A time attestation. Raises NotUnderstood."""
        ...

    def encode_time(self, attestation: TimeAttestation, signer: SigningPair) -> bytes:
        """A time attestation, signed."""
        ...


def read_time(text: str) -> int:
    """Seconds since the epoch of ``YYYY-MM-DDTHH:MM:SSZ``.

    Raises:
        NotUnderstood: another form, or no such time.
    """
    import datetime

    match = _TIME.match(text)
    if match is None:
        raise NotUnderstood(f"{text[:40]!r} is not a time such as 2026-01-31T12:00:00Z")
    try:
        moment = datetime.datetime(*map(int, match.groups()), tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]  # six numbers
    except ValueError as exc:
        raise NotUnderstood(f"{text} is no time: {exc}") from exc
    return int(moment.timestamp())


def write_time(time_s: int) -> str:
    """``YYYY-MM-DDTHH:MM:SSZ`` of seconds since the epoch."""
    import datetime

    try:
        moment = datetime.datetime.fromtimestamp(time_s, tz=datetime.UTC)
    except (OverflowError, ValueError, OSError) as exc:
        raise NotUnderstood(f"time {time_s} is out of range") from exc
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def judge_hashes(hashes: Mapping[str, str], what: str) -> dict[str, str]:
    """Hashes with digits of the right number, in lower case; unknown algorithms are kept as they are.

    Raises:
        NotUnderstood: a digest of the wrong length, or no hexadecimal digits.
    """
    found = {}
    for algorithm, digest in hashes.items():
        length = DIGEST_BYTES.get(algorithm)
        if not _HEX.match(digest) or (length is not None and len(digest) != 2 * length):
            raise NotUnderstood(f"{what}: {digest[:80]!r} is no {algorithm[:20]}")
        found[algorithm] = digest.lower()
    return found


def role_of_file(filename: str) -> str:
    """``snapshot.json``, ``1.root.der`` and the like -> the role's name.

    Raises:
        NotUnderstood: no name, or one that is no plain file name.
    """
    name = filename.removesuffix(".json").removesuffix(".der")
    if not name or "\0" in name:
        raise NotUnderstood(f"{filename[:60]!r} is not the name of a metadata file")
    return name


def judge_offline(dialect: str, *, offline: bool) -> None:
    """Whether a dialect has words for updates from a medium.

    Raises:
        NotUnderstood: they are wanted, and it is one of the reference's, which has not.
    """
    if offline and dialect.startswith("ref-"):
        raise NotUnderstood("this dialect has no updates from a medium")


def judge_delegated_name(name: str) -> str:
    """A delegated role's name.

    Raises:
        NotUnderstood: empty, or that of a top-level role.
    """
    if not name or name in TOP_LEVEL:
        raise NotUnderstood(f"a role cannot be delegated to under the name {name[:40]!r}")
    return name


def without_slash(path: str) -> str:
    """A target's path as the reference writes it, without its one leading slash."""
    return path[1:] if path.startswith("/") else path
