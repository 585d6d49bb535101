"""Encrypts an image for one ECU (Standard §5.3.2.1): AES-CBC, vector first, by a key of its own that RSA wraps."""

import os
from collections.abc import Iterator
from hashlib import sha256, sha512

from swagent.crypto.cipher import OVERHEAD_BYTES, CbcEncryptor
from swagent.crypto.imagekey import KINDS, wrap
from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import make_folders, open_replacement
from swagent.uptane.metadata import EncryptedTarget, Target
from swagent.uptane.reports import InstalledImage

from .director_choice import is_installed

KIND = "aes256"
VECTOR_BYTES = 16
PIECE_BYTES = 1 << 20
SUFFIX = ".enc"


def describe(path: str, source: str) -> Target:
    """A target that describes a file.

    Args:
        path: what it is called in the repositories.
        source: where it lies.

    Raises:
        SettingsError: it cannot be read.
    """
    facts = _Facts()
    for piece in _pieces(path, source):
        facts.add(piece)
    return facts.target(path)


def seal(target: Target, source: str, folder: str, serial: str, public_pem: str) -> EncryptedTarget:
    """Write the form in which an image travels to one ECU.

    Args:
        target: what was signed of the image.
        source: where the image lies.
        folder: where its new form goes, under a name of its own.
        serial: of the ECU.
        public_pem: its RSA key.

    Raises:
        SettingsError: the image is not there, or not the one that was signed, or the key is none.
        DeviceError: the new form cannot be written.
    """
    key = os.urandom(KINDS[KIND])
    try:
        wrapped = wrap(public_pem, key)
    except ValueError as exc:
        raise SettingsError(f"the image key of {serial} cannot be used: {exc}") from exc
    name = f"{target.path}.{sha256(serial.encode()).hexdigest()[:16]}.{os.urandom(4).hex()}{SUFFIX}"
    place = os.path.join(folder, name)
    try:
        make_folders(os.path.dirname(place))
    except OSError as exc:
        raise DeviceError(f"cannot write {place}: {exc.strerror}", path=place, errno=exc.errno) from exc
    plain, sealed = _Facts(), _Facts()
    with open_replacement(place) as file:
        for piece in _encrypted(_pieces(target.path, source), key, plain):
            sealed.add(piece)
            file.write(piece)
        if not is_installed(InstalledImage(*plain.target(target.path)[:3]), target):
            raise SettingsError(f"{source} is not the image {target.path} that is to be assigned")
    form = sealed.target(name)
    return EncryptedTarget(name, form.length_bytes, form.hashes, KIND, wrapped)


class _Facts:
    """Length and hashes of what goes by."""

    def __init__(self) -> None:
        self._length_bytes = 0
        self._running = {"sha256": sha256(), "sha512": sha512()}

    def add(self, piece: bytes | memoryview) -> None:
        self._length_bytes += len(piece)
        for running in self._running.values():
            running.update(piece)

    def target(self, path: str) -> Target:
        hashes = {name: running.hexdigest() for name, running in self._running.items()}
        return Target(path, self._length_bytes, hashes)


def _pieces(path: str, source: str) -> Iterator[bytes]:
    try:
        with open(source, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as exc:
        raise SettingsError(f"cannot read the image {source}: {exc.strerror}", artifact=path) from exc


def _encrypted(pieces: Iterator[bytes], key: bytes, plain: _Facts) -> Iterator[bytes | memoryview]:
    vector = os.urandom(VECTOR_BYTES)
    yield vector
    cipher = CbcEncryptor(key, vector)
    buffer = memoryview(bytearray(PIECE_BYTES + OVERHEAD_BYTES))
    for piece in pieces:
        plain.add(piece)
        yield buffer[: cipher.update_into(memoryview(piece), buffer)]
    yield cipher.finalize()
