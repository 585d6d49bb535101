"""Private keys of roles: a folder with one file for each key, which only its owner may read."""

import json
import os
from collections.abc import Callable
from typing import NamedTuple

from swagent.crypto import refkey, schemes, uri
from swagent.crypto.keys import read_secret_file
from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import make_folders, replace
from swagent.uptane.codecs.base import Codec
from swagent.uptane.signing import Signer

PUBLIC = ".pub"
_SHOWN_MAX = 60


class Sealing(NamedTuple):
    """How new keys are sealed: as the reference implementation does, with a password."""

    password: bytes
    rounds: int = refkey.ROUNDS


class Keystore:
    """A folder of private keys.

    A file holds PEM (PKCS#8, perhaps encrypted), a key sealed as the reference implementation seals its keys, or one
    line with the URI of a key that is elsewhere, such as ``pkcs11:token=…``.

    Args:
        folder: made, with mode 0700, when the first key is put there.
        sealing: password for sealed and encrypted keys; new ones are sealed with it.
        random: makes new Ed25519 keys.
    """

    def __init__(
        self, folder: str, sealing: Sealing | None = None, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.folder = folder
        self._sealing = sealing
        self._random = random

    def names(self) -> tuple[str, ...]:
        """Of all keys, in order.

        Raises:
            SettingsError: the folder cannot be looked into; one that is not there has no keys.
        """
        try:
            found = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise SettingsError(f"cannot look for keys in {self.folder}: {exc.strerror}") from exc
        return tuple(name for name in found if not name.startswith(".") and not name.endswith(PUBLIC))

    def open(self, name: str) -> schemes.Signing:
        """A key.

        Raises:
            SettingsError: it is not there, open to others, needs another password, or cannot be used.
        """
        path = self._path(name)
        data = read_secret_file(path, "key file")
        if refkey.is_sealed(data):
            if self._sealing is None:
                raise SettingsError(f"key file {path} is sealed", hint="give its password")
            try:
                return refkey.unseal(data, self._sealing.password)
            except ValueError as exc:
                raise SettingsError(f"key file {path} cannot be used: {exc}") from exc
        if data.lstrip().startswith(b"-----BEGIN"):
            encrypted = b"ENCRYPTED" in data
            if encrypted and self._sealing is None:
                raise SettingsError(f"key file {path} is encrypted", hint="give its password")
            return schemes.load_private(path, self._sealing.password if encrypted and self._sealing else None)
        line = data.decode("utf-8", "replace").strip()
        if "\n" in line or not uri.scheme_of(line):
            raise SettingsError(f"key file {path} holds neither a key nor the URI of one")
        return schemes.open_private(line)

    def signer(self, name: str, codec: Codec) -> Signer:
        """A key with the identifier that an encoding gives it. Raises as ``open``."""
        return Signer(self.open(name), codec)

    def generate(self, name: str, scheme: str = schemes.ED25519) -> schemes.Signing:
        """A new key; one that is there is never replaced.

        Raises:
            SettingsError: there is one of this name, or the scheme is unknown.
            DeviceError: it cannot be written.
        """
        if scheme == schemes.ED25519:
            seed = self._random(32)
            key = schemes.from_seed(seed)
            sealed = refkey.seal(seed, *self._sealing) if self._sealing is not None else key.pem()
            self._put(name, sealed, key)
            return key
        try:
            key = schemes.generate(scheme)
        except ValueError as exc:
            raise SettingsError(str(exc), hint=f"known are {', '.join(schemes.SCHEMES)}") from exc
        self._put(name, key.pem(self._sealing.password if self._sealing is not None else None), key)
        return key

    def refer(self, name: str, where: str) -> schemes.Signing:
        """Put the URI of a key that is elsewhere here, under a name; it is opened once, to see that it can be used.

        Raises:
            SettingsError: it cannot be used, or there is one of this name.
            DeviceError: it cannot be written.
        """
        key = schemes.open_private(where)
        self._put(name, where.encode() + b"\n", key)
        return key

    def public_file(self, name: str) -> str:
        """Where the public half of a key lies, for others: beside it, in the reference's form."""
        return self._path(name) + PUBLIC

    def forget(self, name: str) -> None:
        """Take a key away, for ever.

        Raises:
            DeviceError: it cannot be removed.
        """
        for path in (self._path(name), self.public_file(name)):
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise DeviceError(
                    f"cannot remove {path}: {exc.strerror}", path=path, errno=exc.errno
                ) from exc

    def _path(self, name: str) -> str:
        if not name or "/" in name or "\0" in name or name.startswith(".") or name.endswith(PUBLIC):
            raise SettingsError(f"{name[:_SHOWN_MAX]!r} is no name for a key")
        return os.path.join(self.folder, name)

    def _put(self, name: str, data: bytes, key: schemes.Signing) -> None:
        path = self._path(name)
        if os.path.lexists(path):
            raise SettingsError(f"there is a key {name} in {self.folder} already", hint="choose another name")
        try:
            make_folders(self.folder, mode=0o700)
        except OSError as exc:
            raise DeviceError(
                f"cannot make {self.folder}: {exc.strerror}", path=self.folder, errno=exc.errno
            ) from exc
        tree = {
            "keytype": key.kind,
            "scheme": key.scheme,
            "keyid_hash_algorithms": ["sha256", "sha512"],
            "keyval": {"public": key.public},
        }
        replace(self.public_file(name), json.dumps(tree).encode() + b"\n")
        replace(path, data, mode=0o600)
