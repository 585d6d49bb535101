"""Unpacking images: members as stored, or decrypted and decompressed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swagent.errors import ArchiveError, DeviceError
from swagent.model import Reader

from .contents import Content, Contents
from .opened import DESCRIPTION, OpenedImage
from .writer import BLOCK_BYTES, check_member_name

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey


@dataclass(frozen=True)
class Extracted:
    """A file that was written.

    Attributes:
        path: where.
        size_bytes: how long it became.
    """

    content: Content
    path: str
    size_bytes: int


def contents_of(path: str, *, aes_key: "AesKey | None" = None) -> tuple[Content, ...]:
    """All members, in their order; nothing is verified.

    Raises:
        ArchiveError: it is no sound archive.
        DescriptionError: the description makes no sense.
        DecryptError: it is encrypted, and there is no key.
    """
    with OpenedImage(path, aes_key) as image:
        return Contents(image).all()


def extract(
    path: str,
    folder: str,
    *,
    names: Sequence[str] = (),
    plain: bool = False,
    overwrite: bool = False,
    aes_key: "AesKey | None" = None,
) -> tuple[Extracted, ...]:
    """Unpack members into a folder. A file appears there only when its digest, or else its checksum, was right.

    Args:
        path: the image. Its signature is not looked at: unpacking changes no device.
        folder: created if it is not there.
        names: which members, () for all.
        plain: decrypt and decompress.
        overwrite: replace files that are there already.
        aes_key: opens what is encrypted.

    Raises:
        ArchiveError: it is no sound archive, or has no member of a wanted name.
        HashError: a member is not what the description promises.
        DecryptError: no key, or not the right one.
        DeviceError: a file cannot be written, or is there already.
    """
    with OpenedImage(path, aes_key) as image:
        contents = Contents(image)
        found = {content.member.name: content for content in contents.all()}
        for name in names:
            if name not in found:
                from difflib import get_close_matches

                near = get_close_matches(name, found, n=1)
                raise ArchiveError(
                    f"{path} has no member {name!r}", hint=f"did you mean {near[0]}?" if near else ""
                )
        wanted = [content for name, content in found.items() if not names or name in names]
        for content in wanted:
            _check_target(folder, content.member.name, overwrite=overwrite)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as exc:
            raise DeviceError(
                f"cannot create {folder}: {exc.strerror}", path=folder, errno=exc.errno
            ) from exc
        return tuple(_extract_one(image, contents, content, folder, plain=plain) for content in wanted)


def _check_target(folder: str, name: str, *, overwrite: bool) -> None:
    check_member_name(name)
    target = os.path.join(folder, name)
    if not overwrite and os.path.lexists(target):
        raise DeviceError(
            f"{target} is there already", path=target, artifact=name, hint="replace it with --force"
        )


def _extract_one(
    image: OpenedImage, contents: Contents, content: Content, folder: str, *, plain: bool
) -> Extracted:
    from swagent.store.atomic import open_replacement, replace

    name = content.member.name
    target = os.path.join(folder, name)
    if plain and name == DESCRIPTION:
        replace(target, image.description())
        return Extracted(content, target, len(image.description()))
    reader: Reader = contents.open(content, plain=plain)
    buffer = memoryview(bytearray(BLOCK_BYTES))
    total = 0
    with open_replacement(target) as file:
        while n := reader.readinto(buffer):
            file.write(buffer[:n])
            total += n
    return Extracted(content, target, total)
