"""What several handlers do in preflight: turn what they find into a refusal, and know what this update will make."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from swagent.errors import DescriptionError, DeviceError, PreflightRefused, SizeError
from swagent.model import Artifact, Compression

from .api import Coming, Context
from .options import plain_size


@contextmanager
def refusing(art: Artifact) -> Iterator[None]:
    """What goes wrong inside is a refusal of this entry: nothing has been written.

    Raises:
        PreflightRefused: instead of an error about a device or a size, and with the entry in front.
        DescriptionError: as it was, with the entry in front.
    """
    try:
        yield
    except (DeviceError, SizeError, PreflightRefused, DescriptionError) as exc:
        kind = DescriptionError if isinstance(exc, DescriptionError) else PreflightRefused
        raise kind(
            f"{art.where or art.label}: {exc.message}", artifact=art.label, handler=art.type, hint=exc.hint
        ) from exc


def size_told(art: Artifact) -> int | None:
    """As ``plain_size``, for targets that must be measured before the first byte; None for a plain image without one.

    Raises:
        PreflightRefused: it is compressed or encrypted and does not say how large it is without that.
    """
    size_bytes = plain_size(art)
    if size_bytes is None and (art.cipher or art.compression is not Compression.NONE):
        raise PreflightRefused(
            f"{art.type} must know beforehand how large the image is",
            hint="say so with the property decompressed-size, or decrypted-size if it is only encrypted",
        )
    return size_bytes


def coming_node(ctx: Context, device: str) -> Coming | None:
    """The partition that this update will make under this device's path, None if it makes no such one."""
    real = os.path.realpath(device)
    return next((part for part in ctx.coming if part.node == real), None)


def coming_disk(ctx: Context, disk: str) -> list[Coming]:
    """All partitions that this update will make on a disk; [] when it leaves the disk as it is."""
    real = os.path.realpath(disk)
    return [part for part in ctx.coming if part.disk == real]
