"""Uptane's errors by the names that aktualizr gives them (src/libaktualizr/uptane/exceptions.h).

The families with their exit codes stand in ``swagent.errors``; here is one class for each thing that can be wrong.
"""

from swagent.errors import (
    AssignmentError,
    FreezeError,
    MetadataTrustError,
    MismatchError,
    RollbackError,
    UptaneError,
)


class InvalidMetadata(UptaneError):
    """A file cannot be understood, or is one of another role."""

    exit_code = 12
    attack = "format"
    aktualizr = "InvalidMetadata"


class InvalidTarget(InvalidMetadata):
    """A target's name or facts cannot be used."""

    aktualizr = "InvalidTarget"


class ExpiredMetadata(FreezeError):
    """A role's expiry lies behind the verified time."""


class VersionRollback(RollbackError):
    """A lower version than before, or a file that is no longer listed."""


class ReleaseCounterRollback(RollbackError):
    """An image whose release counter is lower than the one before."""


class IllegalThreshold(MetadataTrustError):
    """A threshold outside 1 to 1000."""

    aktualizr = "IllegalThreshold"


class UnmetThreshold(MetadataTrustError):
    """Fewer good signatures than the threshold asks for."""

    aktualizr = "UnmetThreshold"


class NonUniqueSignatures(MetadataTrustError):
    """One key signed twice."""

    aktualizr = "NonUniqueSignatures"


class RootRotationError(MetadataTrustError):
    """A new root does not follow from the one that is trusted."""

    aktualizr = "RootRotationError"


class VersionMismatch(MismatchError):
    """A file has another version than the file that lists it says."""

    aktualizr = "VersionMismatch"


class MixAndMatch(MismatchError):
    """A file has another length or hash than the file that lists it says."""


class DelegationMissing(MismatchError):
    """A delegated role is not listed in snapshot, or cannot be had."""

    attack = "mix-and-match"
    aktualizr = "DelegationMissing"


class DelegationHashMismatch(MixAndMatch):
    """A delegated role's file is not the one that snapshot lists."""

    aktualizr = "DelegationHashMismatch"


class TargetMismatch(MismatchError):
    """Director and Image repository do not say the same of an image."""

    attack = "arbitrary software"
    aktualizr = "TargetMismatch"


class TargetHashMismatch(MismatchError):
    """An image's bytes are not those that its metadata names."""

    attack = "arbitrary software"
    aktualizr = "TargetHashMismatch"


class BadEcuId(AssignmentError):
    """An ECU is assigned twice, or does not belong to this vehicle."""

    aktualizr = "BadEcuId"


class BadVehicleId(AssignmentError):
    """Metadata for another vehicle."""

    aktualizr = "BadEcuId"


class BadHardwareId(AssignmentError):
    """An image for other hardware."""

    aktualizr = "BadHardwareId"


class UnknownEcu(AssignmentError):
    """Somebody speaks for an ECU that is not in this vehicle."""

    aktualizr = "BadEcuId"


class UnknownVehicle(AssignmentError):
    """Somebody speaks for another vehicle."""

    aktualizr = "BadEcuId"


class Spoofing(AssignmentError):
    """Somebody speaks for an ECU that it is not."""

    aktualizr = "BadEcuId"


class ReplayedReport(RollbackError):
    """A manifest or report that was handed in before."""
