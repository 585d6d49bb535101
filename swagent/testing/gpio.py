"""GPIO lines in memory, with everything noted."""

import errno
import time
from collections.abc import Callable, Mapping

from swagent.errors import DeviceError
from swagent.model import GpioLine


class FakeGpio:
    """GPIO chips.

    Attributes:
        chips: path of a chip to its number of lines; others are not there. None: every chip is, with 64 lines.
        busy: chip and number of a line to who holds it.
        volts: chip and number of each line that was ever set to whether its voltage is high; what was released stays.
        log: every change, as number of the line and voltage.
        held: the lines that are taken now.
        breaks_after: so many further changes succeed, then all fail; None for no end.
        changed: called after each change.
    """

    def __init__(self, *, chips: Mapping[str, int] | None = None) -> None:
        self.chips = chips
        self.busy: dict[tuple[str, int], str] = {}
        self.volts: dict[tuple[str, int], bool] = {}
        self.log: list[tuple[int, bool]] = []
        self.held: set[tuple[str, int]] = set()
        self.breaks_after: int | None = None
        self.changed: Callable[[], None] = lambda: None

    def in_use(self, line: GpioLine) -> str:
        """See ``hw.gpio.in_use``."""
        lines = 64 if self.chips is None else self.chips.get(line.chip, 0)
        if line.offset >= lines:
            raise DeviceError(f"there is no {line}", path=line.chip, errno=errno.ENOENT)
        holder = self.busy.get(line[:2], "us" if line[:2] in self.held else "")
        return f"{line} is held by {holder}" if holder else ""

    def take(self, levels: Mapping[GpioLine, bool]) -> "FakeGpioLines":
        """See ``hw.gpio.GpioLines``."""
        for line in levels:
            if holder := self.in_use(line):
                raise DeviceError(f"cannot take {line}: {holder}", path=line.chip, errno=errno.EBUSY)
        self.held |= {line[:2] for line in levels}
        return FakeGpioLines(self, levels)


class FakeGpioLines:
    """Some lines of a ``FakeGpio``, taken."""

    def __init__(self, gpio: FakeGpio, levels: Mapping[GpioLine, bool]) -> None:
        self._gpio = gpio
        self._lines = list(levels)
        for line, level in levels.items():
            self._show(line, level)

    def set(self, levels: Mapping[GpioLine, bool], *, settle_s: float = 0.0) -> None:
        """See ``hw.gpio.GpioLines.set``; waits really."""
        gpio = self._gpio
        for line, level in levels.items():
            assert line[:2] in gpio.held, f"{line} is not ours any more"  # noqa: S101 - a mistake of the caller
            if gpio.breaks_after is not None:
                if gpio.breaks_after == 0:
                    raise DeviceError(f"cannot set {line}: broken", path=line.chip, errno=errno.EIO)
                gpio.breaks_after -= 1
            self._show(line, level)
        time.sleep(settle_s)

    def close(self) -> None:
        """See ``hw.gpio.GpioLines.close``."""
        self._gpio.held -= {line[:2] for line in self._lines}

    def _show(self, line: GpioLine, level: bool) -> None:
        volts = level != line.active_low
        self._gpio.volts[line[:2]] = volts
        self._gpio.log.append((line.offset, volts))
        self._gpio.changed()
