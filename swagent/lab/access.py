"""Who may do what: roles by what a token claims, and leases, which keep a board for one person for a while.

Both are beyond Boardswarm: without roles whoever is believed may do anything, and clients that know nothing of leases
see them as properties of devices.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from swagent.clock import Clock

from .auth import Caller
from .config import RoleRule
from .devices import Device
from .errors import NotAllowed, NotNow, NotSupported
from .items import Item, ItemType, matches
from .lab import Lab

LEASE_S_MAX = 7 * 86_400.0
OWNER, REASON, UNTIL = "swagent.lease.owner", "swagent.lease.reason", "swagent.lease.until"


class Verb(Enum):
    """What can be allowed; the value is its word in configurations."""

    LIST = "list"
    WATCH = "watch"
    TYPE = "type"
    POWER = "power"
    READ = "read"
    WRITE = "write"
    LEASE = "lease"
    TAKE = "take"


_NEEDS_LEASE = {Verb.TYPE, Verb.POWER, Verb.WRITE}
"""What only the owner of a lease may do; looking on disturbs nobody."""


def has_role(caller: Caller, role: RoleRule) -> bool:
    """Whether a role is a caller's."""
    if not role.claim:
        return True
    found = caller.claims.get(role.claim)
    return role.value in found if isinstance(found, list) else found == role.value


class Lease(NamedTuple):
    """A device is somebody's.

    Attributes:
        owner: what they are called.
        identity: who they are, as ``Caller`` has it.
        until_s: when it ends, by the monotonic clock.
        until_wall_s: the same for people, seconds since the epoch.
    """

    owner: str
    identity: tuple[str, str]
    reason: str
    until_s: float
    until_wall_s: float


class Access:
    """Judges what callers want.

    Args:
        roles: None when anybody may do anything.
        lab: its devices may be leased.
        clock: for the ends of leases.
        shown: a time as people read it.
    """

    def __init__(
        self, roles: tuple[RoleRule, ...] | None, lab: Lab, clock: Clock, shown: Callable[[float], str]
    ) -> None:
        self._roles = roles
        self._lab = lab
        self._clock = clock
        self._shown = shown
        self._leases: dict[int, Lease] = {}

    def check(self, caller: Caller, verb: Verb, kind: ItemType, item: Item[Any]) -> None:
        """Whether a caller may do this now.

        Raises:
            NotAllowed: no role of theirs says so.
            NotNow: somebody else has leased the device that it belongs to.
        """
        if not self.allows(caller, verb, item):
            raise NotAllowed(
                f"{caller.name} may not {verb.value} {item.name}", hint="the lab's roles say who may"
            )
        if verb not in _NEEDS_LEASE:
            return
        for number, lease in list(self._leases.items()):
            if (
                lease.identity != caller.identity
                and self._concerns(number, kind, item.number)
                and self.lease(number)
            ):
                until = self._shown(lease.until_wall_s)
                why = f" ({lease.reason})" if lease.reason else ""
                raise NotNow(f"{item.name} is leased to {lease.owner} until {until}{why}", hint="ask them")

    def allows(self, caller: Caller, verb: Verb, item: Item[Any]) -> bool:
        """Whether a role of theirs lets a caller do this; leases apart."""
        return self._roles is None or any(
            verb.value in role.verbs
            and has_role(caller, role)
            and (not role.match or matches(role.match, item.properties))
            for role in self._roles
        )

    def replace(self, roles: tuple[RoleRule, ...] | None) -> None:
        """Judge by these from now on; leases stay."""
        self._roles = roles

    # -- leases

    def move(self, device: int, other: int | None) -> None:
        """A device has another number now, or has gone."""
        lease = self._leases.pop(device, None)
        if lease is not None and other is not None:
            self._leases[other] = lease

    def lease(self, device: int) -> Lease | None:
        """Whose a device is now."""
        found = self._leases.get(device)
        if found is not None and found.until_s <= self._clock.monotonic_s():
            del self._leases[device]
            return None
        return found

    def take(self, caller: Caller, item: Item[Any], *, seconds: float, reason: str, force: bool) -> Lease:
        """Have a device, or have it longer.

        Raises:
            NotAllowed: no role of theirs says so.
            NotNow: it is somebody else's, and ``force`` was not asked for.
            NotSupported: it is a device of another server.
        """
        self._check_lease(caller, item, force=force)
        seconds = min(max(seconds, 1.0), LEASE_S_MAX)
        lease = Lease(
            caller.name,
            caller.identity,
            reason[:200],
            self._clock.monotonic_s() + seconds,
            self._clock.now_s() + seconds,
        )
        self._leases[item.number] = lease
        return lease

    def release(self, caller: Caller, item: Item[Any], *, force: bool) -> None:
        """Give a device back. Raises as ``take``."""
        self._check_lease(caller, item, force=force)
        self._leases.pop(item.number, None)

    def properties(self, device: int) -> Mapping[str, str]:
        """What a lease looks like to clients that do not know of any."""
        lease = self.lease(device)
        if lease is None:
            return {}
        return {OWNER: lease.owner, REASON: lease.reason, UNTIL: self._shown(lease.until_wall_s)}

    def _check_lease(self, caller: Caller, item: Item[Any], *, force: bool) -> None:
        if not isinstance(item.what, Device):
            raise NotSupported(f"{item.name} is a device of another server", hint="lease it there")
        found = self.lease(item.number)
        others = found is not None and found.identity != caller.identity
        verb = Verb.TAKE if others and force else Verb.LEASE
        if not self.allows(caller, verb, item):
            raise NotAllowed(
                f"{caller.name} may not {verb.value} {item.name}", hint="the lab's roles say who may"
            )
        if found is not None and others and not force:
            raise NotNow(f"{item.name} is leased to {found.owner} until {self._shown(found.until_wall_s)}")

    def _concerns(self, device: int, kind: ItemType, number: int) -> bool:
        if kind is ItemType.DEVICE:
            return device == number
        found = self._lab.devices.get(device).what
        return isinstance(found, Device) and found.holds(kind, number)
