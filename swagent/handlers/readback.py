"""``verify-write``: whether what was written is what the device gives back."""

from swagent.errors import DeviceError
from swagent.model import Artifact, Data

from .api import Context


def wanted(art: Artifact, *, always: bool) -> bool:
    """Whether the entry or the unit (``always``) asks for it."""
    return always or art.prop("verify-write") == "true"


class Expected:
    """The digest that a target must have; made before the data is poured. Does nothing when nobody asked for it."""

    def __init__(self, art: Artifact, data: Data, ctx: Context) -> None:
        self._data = data
        self._hw = ctx.hw
        self._wanted = wanted(art, always=ctx.verify_write)
        if self._wanted:
            data.want_plain_sha256()

    def compare(self, fd: int, n_bytes: int, offset_bytes: int, path: str) -> None:
        """Make durable what was written, read it back and compare.

        Args:
            fd: open on the target.
            n_bytes: how many bytes were written.
            offset_bytes: from where on.
            path: what to call the target.

        Raises:
            DeviceError: the target gives back something else, or nothing.
        """
        if not self._wanted:
            return
        found = self._hw.read_back(fd, n_bytes, offset_bytes=offset_bytes, path=path)
        expected = self._data.plain_sha256
        if found != expected:
            raise DeviceError(
                f"{path} reads back differently than it was written: sha256 of its {n_bytes} bytes is {found.hex()}, "
                f"expected {expected.hex() if expected else 'none'}",
                path=path,
                hint="the storage is failing, or something else writes to it: see dmesg",
            )
