"""``swagent.Lab``: leases, for clients that know of them."""

from collections.abc import Callable
from typing import Any

from .access import Access
from .auth import Authenticator
from .guard import handlers, token_of
from .lab import Lab
from .service import CALLER
from .wire import EXTRA_SERVICE, Method, extra


class Leasing:
    """The rpcs beyond the protocol.

    Args:
        lab: what can be leased.
        authenticator: judges tokens.
        access: keeps the leases.
        log: hears of what should not have happened.
    """

    def __init__(
        self, lab: Lab, *, authenticator: Authenticator, access: Access, log: Callable[[str], None]
    ) -> None:
        self._lab = lab
        self._wire = extra()
        self._authenticator = authenticator
        self._access = access
        self._log = log

    def handlers(self) -> Any:
        """What a gRPC server serves."""
        return handlers(self, self._wire, EXTRA_SERVICE, self._admit, self._log)

    def _admit(self, method: Method, context: Any) -> None:
        CALLER.set(self._authenticator.judge(token_of(context)))

    async def _lease(self, request: Any, context: Any) -> Any:
        item = self._lab.devices.get(request.device)
        lease = self._access.take(
            CALLER.get(), item, seconds=request.seconds, reason=request.reason, force=request.force
        )
        return self._wire.LeaseReply(owner=lease.owner, reason=lease.reason, until=lease.until_wall_s)

    async def _release(self, request: Any, context: Any) -> Any:
        self._access.release(CALLER.get(), self._lab.devices.get(request.device), force=request.force)
        return self._wire.message("google.protobuf.Empty")()
