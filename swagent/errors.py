"""The one tree of errors; each family has one exit code (docs/reference/exit-codes.md).

A message says what went wrong and where; ``hint`` says what to do next. Foreign exceptions are translated on the line
of the foreign call, with ``raise ... from exc``. Everything that a user, a network or a file can cause is one of these;
whatever else reaches the door is our own bug (exit 1, with a traceback).
"""

from typing import ClassVar


class SwagentError(Exception):
    """Root of all errors that we raise on purpose.

    Args:
        message: what went wrong, and where; one sentence, no trailing full stop.
        artifact: file name of the archive member concerned, if any.
        handler: name of the handler concerned, if any.
        hint: what the reader can do about it; "" if nothing is known to help.

    Attributes:
        wrote: of an install: whether it had begun to write when this happened; None elsewhere.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, artifact: str | None = None, handler: str | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.artifact = artifact
        self.handler = handler
        self.hint = hint
        self.wrote: bool | None = None


class UsageError(SwagentError):
    """The command line cannot be understood."""

    exit_code = 2


class FormatError(SwagentError):
    """Bytes from outside do not have the form they must have."""


class ArchiveError(FormatError):
    """The cpio archive or a member's compression is malformed or cut short."""

    exit_code = 10


class DescriptionError(FormatError):
    """sw-description cannot be understood, or asks for something that does not exist."""

    exit_code = 11


class MetadataError(FormatError):
    """Uptane or authorization metadata cannot be understood."""

    exit_code = 12


class VerificationError(SwagentError):
    """Something is not what its author vouched for."""


class SignatureError(VerificationError):
    """No acceptable signature, or none of the configured keys made it."""

    exit_code = 20


class CertificateTimeError(SignatureError):
    """A certificate or revocation list is not valid yet, or no longer, at the time it is judged."""


class HashError(VerificationError):
    """The bytes of a member are not those whose digest sw-description names."""

    exit_code = 21


class DecryptError(VerificationError):
    """A member cannot be decrypted: no key, wrong key or damaged padding."""

    exit_code = 22


class SizeError(VerificationError):
    """More or fewer bytes than promised, or than the destination can hold."""

    exit_code = 23


class Refused(SwagentError):
    """A gate said no; nothing was written."""


class HardwareRefused(Refused):
    """The image is not made for this hardware."""

    exit_code = 30


class VersionRefused(Refused):
    """The version policy forbids this release."""

    exit_code = 31


class AuthorizationRefused(Refused):
    """This unit may not have this update."""

    exit_code = 32


class SelectionRefused(Refused):
    """The selection is not allowed, or nothing in the description fits it."""

    exit_code = 33


class PreflightRefused(Refused):
    """A handler sees beforehand that it cannot do its part."""

    exit_code = 34


class PowerRefused(PreflightRefused):
    """The battery might not last."""


class HandlerError(SwagentError):
    """A handler failed for a reason of its own."""

    exit_code = 40


class DeviceError(HandlerError):
    """The operating system refused something on a device or file.

    Args:
        path: device or file concerned.
        errno: number of the operating system's error, None if there was none.
    """

    exit_code = 41

    def __init__(
        self,
        message: str,
        *,
        path: str,
        errno: int | None = None,
        artifact: str | None = None,
        handler: str | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, artifact=artifact, handler=handler, hint=hint)
        self.path = path
        self.errno = errno


class ScriptError(HandlerError):
    """A script or hook command failed."""

    exit_code = 42


class BootEnvError(SwagentError):
    """The boot environment cannot be read or written."""

    exit_code = 45


class TransportError(SwagentError):
    """The other end of a connection is not there or broke off."""

    exit_code = 50
    retryable = True


class DeadlineError(SwagentError):
    """Something took longer than it may."""

    exit_code = 51
    retryable = True


class NotAcknowledged(SwagentError):
    """The daemon, or one of its children, said no to a message."""

    exit_code = 52


class SettingsError(SwagentError):
    """A settings file, environment variable or key file cannot be used."""

    exit_code = 70


class RegistrationError(SwagentError):
    """A plug-in cannot be registered, or one that is asked for cannot be used here."""

    exit_code = 71


class Busy(SwagentError):
    """Another update is running."""

    exit_code = 75
    retryable = True


class Cancelled(SwagentError):
    """Somebody who may do so stopped the update."""

    exit_code = 80


class LocallyAborted(Cancelled):
    """Somebody at the vehicle stopped a download or an installation."""

    aktualizr: ClassVar[str] = "LocallyAborted"


class RolledBack(SwagentError):
    """The update did not prove good after its reboot, or is one that did not before."""

    exit_code = 81


class LabError(SwagentError):
    """The board lab cannot do what was asked (``swagent.lab.errors`` has a class for each kind of no).

    Attributes:
        status: the gRPC status that a client of the lab sees.
    """

    exit_code = 90
    status = "INTERNAL"


class TrialFailed(SwagentError):
    """A board of a lab was updated for trial, and does not run the image that it should."""

    exit_code = 91


class UptaneError(VerificationError):
    """Uptane metadata, an image or a report is not what it must be (Uptane Standard §5.4; docs/reference/uptane.md).

    Args:
        message: what is wrong.
        repository: ``director``, ``image`` or "" where none is concerned.
        role: the role or file concerned, such as ``timestamp``; "" where none is.
        expected: what it should have been, for people.
        found: what it was.

    Attributes:
        attack: the attack that this would be, in the Standard's words.
        aktualizr: what aktualizr calls the same error.
    """

    attack: ClassVar[str] = ""
    aktualizr: ClassVar[str] = "SecurityException"

    def __init__(
        self,
        message: str,
        *,
        repository: str = "",
        role: str = "",
        expected: str = "",
        found: str = "",
        artifact: str | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, artifact=artifact, hint=hint)
        self.repository = repository
        self.role = role
        self.expected = expected
        self.found = found


class FreezeError(UptaneError):
    """Metadata has expired: perhaps somebody keeps newer metadata back."""

    exit_code = 60
    attack = "freeze"
    aktualizr = "ExpiredMetadata"


class RollbackError(UptaneError):
    """Something is older than what was accepted before."""

    exit_code = 61
    attack = "rollback"


class MismatchError(UptaneError):
    """Two things that must agree do not: files of one repository, the two repositories, or an image and its facts."""

    exit_code = 62
    attack = "mix-and-match"


class AttestedTimeError(UptaneError):
    """The time cannot be believed, or there is none that is fresh enough."""

    exit_code = 63
    attack = "freeze"


class MetadataTrustError(UptaneError):
    """Metadata is not signed by enough of the keys that must sign it."""

    exit_code = 64
    attack = "spoofing"


class AssignmentError(UptaneError):
    """Something is assigned to an ECU or hardware that it is not for."""

    exit_code = 65
    attack = "spoofing"


class EndlessDataError(UptaneError):
    """There is more data than there may be."""

    exit_code = 66
    attack = "endless data"
    aktualizr = "OversizedTarget"


class SlowRetrievalError(UptaneError):
    """Data comes more slowly than it must."""

    exit_code = 67
    attack = "slow retrieval"
    aktualizr = "MetadataFetchFailure"
