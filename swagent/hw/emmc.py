"""Which boot partition an eMMC boots from: a field of its EXT_CSD (JEDEC JESD84-B51, 7.4.69; linux/mmc/ioctl.h)."""

import errno
import fcntl
import os
import re
import struct
from array import array

from swagent.errors import DeviceError

MMC_IOC_CMD = 0xC048B300
_COMMAND = struct.Struct("=iiII4I7I4xQ")
_SEND_EXT_CSD, _SWITCH = 8, 6
_READ_FLAGS, _SWITCH_FLAGS = 0xB5, 0x49D
EXT_CSD_BYTES = 512
PARTITION_CONFIG = 179
USER_AREA = 7
_ENABLE_MASK, _ENABLE_SHIFT = 0x38, 3
_ACK = 0x40
"""Whether the boot loader's host is acknowledged; belongs to the board and is kept."""
_NAME = re.compile(r"(mmcblk[0-9]+)(?:boot([01]))?\Z")


def device_of(path: str) -> tuple[str, int | None]:
    """The eMMC's own device, and the boot partition (0 or 1) that ``path`` names; None for the eMMC as such.

    Raises:
        DeviceError: it is not the name of an eMMC.
    """
    real = os.path.realpath(path)
    match = _NAME.match(os.path.basename(real))
    if match is None:
        raise DeviceError(
            f"{path} is no eMMC (/dev/mmcblkN, /dev/mmcblkNboot0)", path=path, errno=errno.ENODEV
        )
    return os.path.join(os.path.dirname(real), match[1]), None if match[2] is None else int(match[2])


class Emmc:
    """An eMMC's boot configuration.

    Args:
        path: ``/dev/mmcblkN``.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def boot_partition(self) -> int | None:
        """0 or 1, 7 for the user area, None when it boots from nowhere.

        Raises:
            DeviceError: it cannot be asked.
        """
        field = (self._config() & _ENABLE_MASK) >> _ENABLE_SHIFT
        if field == USER_AREA:
            return USER_AREA
        return field - 1 if field in (1, 2) else None

    def boot_from(self, number: int) -> None:
        """Boot from boot partition 0 or 1 from now on; one switch command, and the device is asked afterwards.

        Raises:
            DeviceError: it does not do so.
        """
        value = (self._config() & _ACK) | (number + 1) << _ENABLE_SHIFT
        argument = 3 << 24 | PARTITION_CONFIG << 16 | value << 8 | 1  # 3: write this byte
        self._command(_SWITCH, argument, _SWITCH_FLAGS, write=True)
        if self.boot_partition() != number:
            raise DeviceError(
                f"{self._path} did not take over boot partition {number}", path=self._path, errno=errno.EIO
            )

    def _config(self) -> int:
        return self._command(_SEND_EXT_CSD, 0, _READ_FLAGS, answer_bytes=EXT_CSD_BYTES)[PARTITION_CONFIG]

    def _command(
        self, opcode: int, argument: int, flags: int, *, write: bool = False, answer_bytes: int = 0
    ) -> bytes:
        answer = array("B", bytes(answer_bytes))
        address = answer.buffer_info()[0] if answer_bytes else 0
        blocks = 1 if answer_bytes else 0
        command = bytearray(
            _COMMAND.pack(
                write, 0, opcode, argument, 0, 0, 0, 0, flags, answer_bytes, blocks, 0, 0, 0, 0, address
            )
        )
        try:
            fd = os.open(self._path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, MMC_IOC_CMD, command)
            finally:
                os.close(fd)
        except OSError as exc:
            what = "switch the boot partition of" if write else "read the EXT_CSD of"
            hint = "it is no eMMC" if exc.errno in (errno.ENOTTY, errno.EINVAL) else ""
            raise DeviceError(
                f"cannot {what} {self._path}: {exc.strerror}", path=self._path, errno=exc.errno, hint=hint
            ) from exc
        return answer.tobytes()
