"""Tells systemd how the service does (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to whoever started us; to nobody when nobody listens.

    Args:
        environ: ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` count.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_s: float | None = int(usec) / 1e6 if usec.isdecimal() and int(usec) and ours else None
        """Within how many seconds we must say that we live, None when nobody asks."""

    def tell(self, **facts: str) -> None:
        """Say something, such as ``READY="1"``; a listener that has gone is no error."""
        if not self._path:
            return
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        text = "\n".join(f"{key}={value}" for key, value in facts.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(text.encode(), address)
            except OSError:
                return
