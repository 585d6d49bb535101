"""An ECU whose image is one file: what aktualizr's virtual Secondaries are, and the simplest real ones."""

import os

from swagent.errors import DeviceError
from swagent.model import InstallRequest, Outcome
from swagent.store.atomic import make_folders, open_replacement, replace

PIECE_BYTES = 256 * 1024


class FirmwareFile:
    """Writes images to a file, which is replaced whole and only by one that was verified to its end.

    Args:
        path: of the file; it and its folder are made when they are missing.
        name_path: file that the image's name is written to, "" for none.
    """

    def __init__(self, path: str, name_path: str = "") -> None:
        self._path = path
        self._name_path = name_path

    def install(self, request: InstallRequest) -> Outcome:
        """Install; the file is the old one or the new one, whatever happens.

        Raises:
            SwagentError: the image is not what it must be, or cannot be had; the old one stays.
            DeviceError: it cannot be written.
        """
        for path in filter(None, (self._path, self._name_path)):
            folder = os.path.dirname(path) or "."
            try:
                make_folders(folder)
            except OSError as exc:
                raise DeviceError(f"cannot make {folder}: {exc.strerror}", path=folder) from exc
        with open_replacement(self._path) as file:
            buffer = memoryview(bytearray(PIECE_BYTES))
            while n := request.source.readinto(buffer):
                file.write(buffer[:n])
                request.checkpoint()
        if self._name_path:
            replace(self._name_path, request.name.encode())
        return Outcome(0)

    def mark(self) -> str:
        """Nothing is remembered."""
        return ""

    def completed(self, mark: str) -> bool | None:
        """No reboot completes it: what was cut is done again."""
        return False
