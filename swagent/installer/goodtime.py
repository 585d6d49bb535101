"""The last good time: what a wrong clock cannot take back (docs/howto/rotate-keys.md).

A device without a battery starts in 1970, and a clock can be set back to when a stolen certificate was still valid. So
certificates are judged at the latest of three times: the clock's, the one stored here, and ``FLOOR_S``.

Stored is the time at which a signer's certificate was found valid, and only once its update is committed. So it never
lies behind the end of that certificate: a clock set to 2099 finds none that is valid, and changes nothing. A clock set
forward inside the validity of the device's certificates can make it refuse later ones whose validity ends before; it
takes root to set it, and root may remove the file. A refusal tells both times.
"""

import os

from swagent.clock import Clock
from swagent.errors import DeviceError

FILE = "good-time"
FLOOR_S = 1_767_225_600.0
"""2026-01-01: before that there was no swagent. To be raised with releases."""
TOLERANCE_S = 86_400.0
_TEXT_MAX = 32
_TIME_MAX_S = 2.0**36  # year 4147: what is later is damage


class GoodTime:
    """What time it is, as far as certificates are concerned; taken once.

    Args:
        folder: the state folder; "" for none, then nothing is stored.
        clock: the system's.

    Attributes:
        now_s: seconds since the epoch at which certificates are to be judged.
        problem: what is wrong with clock or file, for the log; "" when nothing is.
    """

    def __init__(self, folder: str, clock: Clock) -> None:
        self._path = os.path.join(folder, FILE) if folder else ""
        self.problem = ""
        self._stored_s = self._read()
        self._system_s = clock.now_s()
        self.now_s = max(self._system_s, self._stored_s, FLOOR_S)
        if self._system_s < self.now_s - TOLERANCE_S and not self.problem:
            self.problem = (
                f"the clock says {_date(self._system_s)}, which has passed; "
                f"certificates are judged as of {_date(self.now_s)}"
            )

    @property
    def explanation(self) -> str:
        """Both times and what to do, for the hint of a refusal."""
        known = max(self._stored_s, FLOOR_S)
        text = f"the clock says {_date(self._system_s)}, the last good time is {_date(known)}"
        if self._stored_s > FLOOR_S and self._stored_s > self._system_s:
            text += f" (if that is wrong, remove {self._path})"
        return text

    def keep(self) -> None:
        """Store ``now_s``, at which a certificate was valid that an update was just committed on.

        Raises:
            DeviceError: the operating system refused.
        """
        if not self._path or int(self.now_s) <= self._stored_s:
            return
        from swagent.store.atomic import replace

        folder = os.path.dirname(self._path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as exc:
            raise DeviceError(f"cannot make {folder}: {exc.strerror}", path=folder, errno=exc.errno) from exc
        replace(self._path, b"%d\n" % int(self.now_s), mode=0o600)

    def _read(self) -> float:
        """The time stored, 0 if there is none that can be read."""
        if not self._path:
            return 0.0
        try:
            with open(self._path, "rb") as file:
                text = file.read(_TEXT_MAX).strip()
        except FileNotFoundError:
            return 0.0
        except OSError as exc:
            self.problem = f"cannot read {self._path}: {exc.strerror}"
            return 0.0
        if not text.isdigit() or float(text) > _TIME_MAX_S:
            self.problem = f"{self._path} is damaged; only the clock says what time it is"
            return 0.0
        return float(text)


def _date(time_s: float) -> str:
    import time

    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time_s))
    except (OverflowError, ValueError, OSError):
        return f"{time_s:.0f} s after 1970"
