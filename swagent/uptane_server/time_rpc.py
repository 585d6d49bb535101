"""The Time server's methods over XML-RPC (uptane §3)."""

from collections.abc import Callable

from swagent.net.rpcserver import Method, RpcMethods
from swagent.uptane.errors import InvalidMetadata

from .time_server import TimeServer

PORT = 30601


def methods(server: TimeServer, log: Callable[[str, str], None]) -> RpcMethods:
    """What can be called."""
    found = {
        "get_signed_time": Method(server.get_signed_time, (list,), 1),
        "get_signed_time_der": Method(server.get_signed_time_der, (list,), 1),
    }
    return RpcMethods(found, ((InvalidMetadata, "tuf.FormatError"),), log)
