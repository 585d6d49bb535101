"""An image on disk, opened to look into: for signing, verifying and unpacking on a host."""

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from swagent.errors import ArchiveError, DecryptError, DescriptionError, DeviceError, SignatureError
from swagent.stream import Archive, FileSource, Member, read_all

from .entries import Entry, entries

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey
    from swagent.crypto.signature import Signer, Trust

DESCRIPTION = "sw-description"
SIGNATURE = "sw-description.sig"
SIGNATURE_BYTES_MAX = 64 * 1024


class OpenedImage:
    """A context manager.

    Args:
        path: a regular file.
        aes_key: opens an encrypted description.

    Attributes:
        members: all of them, in their order; the first is sw-description.
        fd: the open file.

    Raises:
        ArchiveError: it is no sound archive, or does not begin with sw-description.
        DeviceError: it cannot be read.
    """

    def __init__(self, path: str, aes_key: "AesKey | None" = None) -> None:
        self.path = path
        self.aes_key = aes_key
        self.encrypted = False
        self._description: bytes | None = None
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
        try:
            self.archive = Archive(_source(self.fd, path))
            self.members: list[Member] = self.archive.index()
            if not self.members or self.members[0].name != DESCRIPTION:
                first = repr(self.members[0].name) if self.members else "its end"
                raise ArchiveError(f"{path} must begin with {DESCRIPTION}, but {first} comes first")
        except BaseException:
            os.close(self.fd)
            raise

    def __enter__(self) -> "OpenedImage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def description(self) -> bytes:
        """The plain text of sw-description; ``encrypted`` tells afterwards whether it was encrypted.

        Raises:
            ArchiveError: too large, or its checksum is wrong.
            DecryptError: it is encrypted, and the key is missing or wrong.
        """
        if self._description is None:
            from swagent.parser import SIZE_MAX_BYTES

            stored = self._take(self.members[0], SIZE_MAX_BYTES)
            self.encrypted = not _is_text(stored)
            self._description = self._decrypted(stored) if self.encrypted else stored
        return self._description

    def tree(self) -> dict[str, Any]:
        """The description as it stands.

        Raises:
            DescriptionError: it cannot be understood.
        """
        from swagent.parser import SIZE_MAX_BYTES
        from swagent.parser.describe import read_tree

        return read_tree(self.description(), size_max_bytes=SIZE_MAX_BYTES)[0]

    def uses(self) -> dict[str, list[Entry]]:
        """The entries of the description by the member they name, for all boards and selections at once.

        Raises:
            DescriptionError: it cannot be understood, or entries contradict each other.
        """
        found: dict[str, list[Entry]] = {}
        for entry in entries(self.tree()):
            found.setdefault(entry.filename, []).append(entry)
        for name, group in found.items():
            if (
                len(
                    {
                        (use.sha256, use.cipher, use.aes_key, use.ivt, use.table_name, use.table_sha256)
                        for use in group
                    }
                )
                > 1
            ):
                raise DescriptionError(f"entries disagree about what is in {name}", artifact=name)
        return found

    def verify_signature(self, trust: "Trust", *, now_s: float) -> "Signer":
        """Who signed the description.

        Raises:
            SignatureError: nobody, or nobody who is trusted.
            SettingsError: a file that ``trust`` names cannot be used.
        """
        from swagent.crypto.signature import verify

        if len(self.members) < 2 or self.members[1].name != SIGNATURE:
            raise SignatureError(
                f"{self.path} is not signed: its second member is not {SIGNATURE}",
                hint="sign it with `swagent sign`",
            )
        signature = self._take(self.members[1], SIGNATURE_BYTES_MAX)
        return verify(self.description(), signature, trust, now_s=now_s)

    def _take(self, member: Member, size_max_bytes: int) -> bytes:
        if member.size_bytes > size_max_bytes:
            raise ArchiveError(
                f"{member.name} has {member.size_bytes} bytes, more than the {size_max_bytes} allowed"
            )
        return read_all(self.archive.open(member, verify_sum=True), size_max_bytes, what=member.name)

    def _decrypted(self, stored: bytes) -> bytes:
        if self.aes_key is None:
            raise DecryptError(
                f"{DESCRIPTION} is encrypted or no text", hint="name the key file with -K if it is encrypted"
            )
        from .encrypt import decrypt_description

        return decrypt_description(stored, self.aes_key)


def _source(fd: int, path: str) -> FileSource:
    import stat

    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise DeviceError(f"{path} is no regular file", path=path)
    return FileSource(fd, path)


def _is_text(stored: bytes) -> bool:
    """Ciphertext of more than a few blocks is never UTF-8 without control characters."""
    try:
        text = stored.decode()
    except UnicodeDecodeError:
        return False
    return not any(char < " " and char not in "\t\n\r\f\v" for char in text)
