"""What the lab says no with; each has the gRPC status that a client sees (boardswarm §1.6)."""

from swagent.errors import LabError


class InvalidRequest(LabError):
    """The request makes no sense."""

    status = "INVALID_ARGUMENT"


class Unauthenticated(LabError):
    """Nobody vouches for whoever asks."""

    status = "UNAUTHENTICATED"


class NotAllowed(LabError):
    """Who asks may not do this."""

    status = "PERMISSION_DENIED"


class NotThere(LabError):
    """There is no such item, target or mode."""

    status = "NOT_FOUND"


class NotNow(LabError):
    """Something else must come first."""

    status = "FAILED_PRECONDITION"


class NotSupported(LabError):
    """This item cannot do it."""

    status = "UNIMPLEMENTED"


class OutOfRange(LabError):
    """Beyond the end, or not where the last piece ended."""

    status = "OUT_OF_RANGE"


class Failed(LabError):
    """The board, or what drives it, failed."""

    status = "ABORTED"


class Gone(LabError):
    """What was used has been unplugged, or cannot be reached."""

    status = "UNAVAILABLE"


class TookTooLong(LabError):
    """It has not happened in time."""

    status = "DEADLINE_EXCEEDED"
