"""Encrypts an image for one ECU (Standard §5.3.2.1): AES-CBC, vector first, by a key of its own that RSA wraps."""

import os
from hashlib import sha256, sha512
from typing import BinaryIO

from swagent.crypto.cipher import OVERHEAD_BYTES, CbcEncryptor
from swagent.crypto.imagekey import KINDS, wrap
from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import make_folders, open_replacement
from swagent.uptane.metadata import EncryptedTarget, Target

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
    try:
        with open(source, "rb") as file:
            return _describe(path, file)
    except OSError as exc:
        raise SettingsError(f"cannot read the image {source}: {exc.strerror}", artifact=path) from exc


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
    found = describe(target.path, source)
    common = found.hashes.keys() & target.hashes.keys()
    if (
        found.length_bytes != target.length_bytes
        or not common
        or any(found.hashes[name] != target.hashes[name] for name in common)
    ):
        raise SettingsError(f"{source} is not the image {target.path} that is to be assigned")
    key = os.urandom(KINDS[KIND])
    try:
        wrapped = wrap(public_pem, key)
    except ValueError as exc:
        raise SettingsError(f"the image key of {serial} cannot be used: {exc}") from exc
    name = f"{target.path}.{sha256(serial.encode()).hexdigest()[:16]}.{os.urandom(4).hex()}{SUFFIX}"
    place = os.path.join(folder, name)
    try:
        make_folders(os.path.dirname(place))
        with open(source, "rb") as plain, open_replacement(place) as file:
            _encrypt(plain, file, key)
            file.seek(0)
            form = _describe(name, file)
    except OSError as exc:
        raise DeviceError(f"cannot write {place}: {exc.strerror}", path=place, errno=exc.errno) from exc
    return EncryptedTarget(name, form.length_bytes, form.hashes, KIND, wrapped)


def _encrypt(plain: BinaryIO, file: BinaryIO, key: bytes) -> None:
    vector = os.urandom(VECTOR_BYTES)
    cipher = CbcEncryptor(key, vector)
    file.write(vector)
    sealed = memoryview(bytearray(PIECE_BYTES + OVERHEAD_BYTES))
    while piece := plain.read(PIECE_BYTES):
        n = cipher.update_into(memoryview(piece), sealed)
        file.write(sealed[:n])
    file.write(cipher.finalize())


def _describe(path: str, file: BinaryIO) -> Target:
    hashes = {"sha256": sha256(), "sha512": sha512()}
    length_bytes = 0
    while piece := file.read(PIECE_BYTES):
        length_bytes += len(piece)
        for running in hashes.values():
            running.update(piece)
    return Target(path, length_bytes, {name: running.hexdigest() for name, running in hashes.items()})
