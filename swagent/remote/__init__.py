"""Both ends of SWUpdate's protocol for installers in other programs (docs/reference/remote-protocol.md)."""

from .client import Sender
from .server import Receiver, Server

__all__ = ["Receiver", "Sender", "Server"]
