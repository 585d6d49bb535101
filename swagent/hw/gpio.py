"""GPIO lines as outputs, by the kernel's character devices (gpiod v2)."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swagent.errors import DeviceError, RegistrationError
from swagent.model import GpioLine

if TYPE_CHECKING:
    from gpiod import LineRequest

CONSUMER = "swagent"
"""By what name others see that we hold a line (``gpioinfo``)."""


def in_use(line: GpioLine) -> str:
    """Who holds a line, "" if nobody does. Changes nothing.

    Raises:
        DeviceError: there is no such chip or line.
        RegistrationError: gpiod is not installed.
    """
    gpiod = _gpiod()
    try:
        os.stat(line.chip)
        with gpiod.Chip(line.chip) as chip:
            info = chip.get_line_info(line.offset)
    except OSError as exc:
        raise _error(f"cannot use {line}: {exc.strerror}", line, exc.errno) from exc
    except ValueError as exc:
        raise _error(f"there is no {line}", line) from exc
    return f"{line} is held by {info.consumer or 'the kernel'}" if info.used else ""


class GpioLines:
    """Lines that are ours, as outputs, until they are closed.

    Args:
        levels: the lines and what they show from the start; lines of one chip are requested together.

    Raises:
        DeviceError: one of them is not there or held by somebody else; none is held then.
        RegistrationError: gpiod is not installed.
    """

    def __init__(self, levels: Mapping[GpioLine, bool]) -> None:
        gpiod = _gpiod()
        self._requests: dict[str, LineRequest] = {}
        for chip in {line.chip: None for line in levels}:
            here = [line for line in levels if line.chip == chip]
            try:
                self._requests[chip] = gpiod.request_lines(
                    chip,
                    consumer=CONSUMER,
                    config={
                        line.offset: gpiod.LineSettings(
                            direction=gpiod.line.Direction.OUTPUT,
                            active_low=line.active_low,
                            output_value=_value(levels[line]),
                        )
                        for line in here
                    },
                )
            except (OSError, ValueError) as exc:
                self.close()
                names = " and ".join(str(line) for line in here)
                reason = exc.strerror if isinstance(exc, OSError) else "there is no such line"
                raise _error(f"cannot take {names}: {reason}", here[0], getattr(exc, "errno", None)) from exc

    def set(self, levels: Mapping[GpioLine, bool], *, settle_s: float = 0.0) -> None:
        """Show other levels, then wait a little.

        Raises:
            DeviceError: the chip refuses or is gone.
        """
        for line, level in levels.items():
            try:
                self._requests[line.chip].set_value(line.offset, _value(level))
            except OSError as exc:
                raise _error(f"cannot set {line}: {exc.strerror}", line, exc.errno) from exc
        time.sleep(settle_s)

    def close(self) -> None:
        """Give them back; what they show then is the chip's affair, most keep the level."""
        for request in self._requests.values():
            request.release()
        self._requests.clear()


class HeldLine:
    """One line that is ours until it is closed. What it shows stays as it is until it is set; then it is an output.

    Args:
        chip: path of its chip.
        line: its name, or its number.

    Attributes:
        offset: its number on the chip.
        name: what the device tree calls it, "" if it does not.
        chip_label: what the chip calls itself.

    Raises:
        DeviceError: there is no such chip or line, or somebody else holds it.
        RegistrationError: gpiod is not installed.
    """

    def __init__(self, chip: str, line: str | int) -> None:
        gpiod = _gpiod()
        self._is_output = False
        try:
            with gpiod.Chip(chip) as opened:
                self.chip_label: str = opened.get_info().label
                self.offset: int = opened.line_offset_from_id(line)
                self.name: str = opened.get_line_info(self.offset).name or ""
            self._line = GpioLine(chip, self.offset)
            as_it_is = gpiod.LineSettings(direction=gpiod.line.Direction.AS_IS)
            self._request: LineRequest = gpiod.request_lines(
                chip, consumer=CONSUMER, config={self.offset: as_it_is}
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "there is no such line"
            raise DeviceError(
                f"cannot take line {line} of {chip}: {reason}",
                path=chip,
                errno=getattr(exc, "errno", None),
                hint="`gpioinfo` lists chips, lines and their users",
            ) from exc

    def set(self, level: bool) -> None:
        """Show a level.

        Raises:
            DeviceError: the chip refuses or is gone.
        """
        gpiod = _gpiod()
        try:
            if self._is_output:
                self._request.set_value(self.offset, _value(level))
            else:
                settings = gpiod.LineSettings(
                    direction=gpiod.line.Direction.OUTPUT,
                    drive=gpiod.line.Drive.PUSH_PULL,
                    output_value=_value(level),
                )
                self._request.reconfigure_lines({self.offset: settings})
                self._is_output = True
        except OSError as exc:
            raise _error(f"cannot set {self._line}: {exc.strerror}", self._line, exc.errno) from exc

    def close(self) -> None:
        """Give it back; what it shows then is the chip's affair, most keep the level."""
        self._request.release()


def _gpiod() -> Any:
    try:
        import gpiod
    except ImportError as exc:
        raise RegistrationError("GPIO lines need gpiod", hint="pip install gpiod") from exc
    return gpiod


def _value(level: bool) -> Any:
    from gpiod.line import Value

    return Value.ACTIVE if level else Value.INACTIVE


def _error(message: str, line: GpioLine, errno: int | None = None) -> DeviceError:
    return DeviceError(
        message, path=line.chip, errno=errno, hint="`gpioinfo` lists chips, lines and their users"
    )
