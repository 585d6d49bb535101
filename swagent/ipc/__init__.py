"""SWUpdate's sockets as programs use them: messages to the byte, and blocking clients.

``ControlClient`` says things to a daemon and streams updates to it, ``progress`` listens to one.
"""

from .control import ControlClient, Ours, Upload, events
from .messages import (
    ChildCommand,
    Command,
    DryRun,
    Level,
    Message,
    Notification,
    Origin,
    Progress,
    Request,
    Revisions,
    Status,
    StatusReply,
    Type,
)
from .progress import progress

__all__ = [
    "ChildCommand",
    "Command",
    "ControlClient",
    "DryRun",
    "Level",
    "Message",
    "Notification",
    "Origin",
    "Ours",
    "Progress",
    "Request",
    "Revisions",
    "Status",
    "StatusReply",
    "Type",
    "Upload",
    "events",
    "progress",
]
