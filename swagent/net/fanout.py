"""One archive to several devices at the same pace, in one thread and constant memory."""

import math
import select
from collections.abc import Callable, Sequence

from swagent.clock import Clock
from swagent.errors import DeadlineError, HandlerError

from .device import Device

TICK_S = 0.1
"""How long is waited before somebody is asked whether to go on."""


class FanOut:
    """Sends to all devices that are left; one that fails or is too slow is dropped, the others go on.

    Args:
        devices: all of them.
        timeout_s: how long a device may take to connect, or to take a piece.
        deadline_s: how long it may keep others waiting in all, its verdict included.
        waiting: called again and again; may raise to stop.
        clock: for both.
        log: hears of devices that are dropped.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        *,
        timeout_s: float,
        deadline_s: float,
        waiting: Callable[[], None],
        clock: Clock,
        log: Callable[[str, str], None],
    ) -> None:
        self._devices = devices
        self._told: set[str] = set()
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._waiting = waiting
        self._clock = clock
        self._log = log

    def open(self) -> None:
        """Connect to all.

        Raises:
            HandlerError: none is left.
        """
        for device in self._devices:
            device.start()
        self._until(lambda device: device.is_ready, "it could not be connected", self._timeout_s)

    def send(self, piece: memoryview) -> None:
        """Give all the next bytes; returns when they have taken them.

        Raises:
            HandlerError: none is left.
        """
        for device in self._devices:
            device.send(piece)
        self._until(lambda device: device.is_idle, "it took no data", self._timeout_s)

    def finish(self) -> None:
        """Wait for all verdicts.

        Raises:
            HandlerError: a device did not install it; all that did not are named.
        """
        self._until(lambda device: device.is_over, "it did not tell how the update ended", math.inf)
        failed = [device for device in self._devices if device.error is not None]
        if failed:
            raise self._verdict(failed)

    def close(self) -> None:
        """Close all connections."""
        for device in self._devices:
            device.close()

    def _until(self, done: Callable[[Device], bool], late: str, limit_s: float) -> None:
        from_s = last_s = self._clock.monotonic_s()
        while True:
            waited_for = [device for device in self._devices if not device.is_over and not done(device)]
            self._turn(TICK_S if waited_for else 0)
            self._waiting()
            now_s = self._clock.monotonic_s()
            for device in self._devices:
                device.judge(now_s)
            for device in waited_for:
                device.waited_s += now_s - last_s
                if device.is_over or done(device):
                    continue
                if now_s - from_s >= limit_s:
                    device.fail(DeadlineError(f"{late} within {limit_s:g} s"))
                elif device.waited_s >= self._deadline_s:
                    device.fail(DeadlineError(f"{late}; it may take {self._deadline_s:g} s in all"))
            last_s = now_s
            self._tell()
            if all(device.is_over or done(device) for device in self._devices):
                return

    def _turn(self, wait_s: float) -> None:
        """Let every connection do what it can, once."""
        poll = select.poll()
        found = {}
        for device in self._devices:
            if not device.is_over:
                for channel in device.channels:
                    poll.register(channel, channel.wants)
                    found[channel.fileno()] = (device, channel)
        for fd, _ in poll.poll(wait_s * 1000):
            device, channel = found[fd]
            if channel.fileno() == fd:  # the other connection may just have closed it
                device.advance(channel)

    def _tell(self) -> None:
        for device in self._devices:
            if not device.is_over or device.name in self._told:
                continue
            self._told.add(device.name)
            if device.error is not None:
                self._log("error", f"{device.name} is given up: {device.error.message}")
            else:
                self._log("info", f"{device.name} has installed it")
        failed = [device for device in self._devices if device.error is not None]
        if len(failed) == len(self._devices):
            raise self._verdict(failed)

    def _verdict(self, failed: Sequence[Device]) -> HandlerError:
        reasons = "; ".join(f"{device.name}: {device.error.message}" for device in failed if device.error)
        hints = {device.error.hint for device in failed if device.error and device.error.hint}
        return HandlerError(
            f"{len(failed)} of {len(self._devices)} devices did not install it: {reasons}",
            hint="; ".join(sorted(hints)),
        )
