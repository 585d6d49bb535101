"""Pause, resume and abort: words that another process leaves in the state folder, for downloads and installations.

``paused`` holds until somebody takes it away, over restarts too. ``abort`` is for what runs now: whoever runs takes it
away and stops, so whoever asked sees that it was heard.
"""

import os
from collections.abc import Callable

from swagent.errors import DeviceError, LocallyAborted
from swagent.store.atomic import replace

TICK_S = 0.5
PAUSED_FILE, ABORT_FILE = "paused", "abort"


class Flow:
    """What has been asked of the process that works with a state folder.

    Args:
        folder: the state folder.
        sleep: waits so long.
        stop: asked as often; raises when the process shall end.
        changed: hears that a pause begins (True) or ends (False), when it holds something up.
    """

    def __init__(
        self,
        folder: str,
        *,
        sleep: Callable[[float], None],
        stop: Callable[[], None] = lambda: None,
        changed: Callable[[bool], None] = lambda paused: None,
    ) -> None:
        self._paused = os.path.join(folder, PAUSED_FILE)
        self._abort = os.path.join(folder, ABORT_FILE)
        self._sleep = sleep
        self._stop = stop
        self._changed = changed

    # -- for whoever asks

    def pause(self) -> None:
        """Hold up what runs, and what begins later.

        Raises:
            DeviceError: the state folder cannot be written.
        """
        replace(self._paused, b"", mode=0o600)

    def resume(self) -> None:
        """End the pause; without one nothing happens.

        Raises:
            DeviceError: the state folder cannot be written.
        """
        _remove(self._paused)

    def paused(self) -> bool:
        """Whether a pause has been asked for."""
        return os.path.exists(self._paused)

    def ask_abort(self) -> None:
        """Stop what runs.

        Raises:
            DeviceError: the state folder cannot be written.
        """
        replace(self._abort, b"", mode=0o600)

    def aborting(self) -> bool:
        """Whether nobody has heard yet."""
        return os.path.exists(self._abort)

    # -- for the process that works

    def forget_abort(self) -> bool:
        """What was not heard in time is meant for nothing that comes later; returns whether there was such.

        Raises:
            DeviceError: the state folder cannot be written.
        """
        return self.aborting() and _remove(self._abort)

    def judge(self) -> None:
        """Go on, or not; for places that must not wait.

        Raises:
            LocallyAborted: somebody asked for it.
            Cancelled: the process shall end.
        """
        self._stop()
        if self.forget_abort():
            raise LocallyAborted(
                "aborted on request", hint="the next cycle begins it anew; `swagent uptane pause` holds it up"
            )

    def checkpoint(self) -> None:
        """Go on, now or when the pause is over, or not; called between steps and pieces.

        Raises:
            LocallyAborted, Cancelled: as ``judge``.
        """
        self.judge()
        if not self.paused():
            return
        self._changed(True)
        while self.paused():
            self._sleep(TICK_S)
            self.judge()
        self._changed(False)


def _remove(path: str) -> bool:
    """Whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise DeviceError(f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    return True
