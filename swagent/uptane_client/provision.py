"""What a vehicle is given before its first cycle: roots, the Time server's key, a key of its own (Standard §5.4.1)."""

import os
from typing import TYPE_CHECKING, Any

from swagent.crypto import schemes
from swagent.errors import DeviceError, SettingsError, TransportError
from swagent.store.atomic import make_folders, replace
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import DIRECTOR, IMAGE, ROOT, Key
from swagent.uptane.repository import Repository
from swagent.uptane.rules import Rules

from .files import FileStore
from .vehicle import Vehicle

if TYPE_CHECKING:
    from .parts import Parts

FILE_MAX_BYTES = 1024 * 1024


def provision(
    state: str,
    codec: Codec,
    rules: Rules,
    *,
    director_root: str | None,
    image_root: str | None,
    time_key: str | None,
    replace_roots: bool = False,
) -> None:
    """Put what is given into a state folder; all of it is judged before any of it is written.

    Args:
        state: the folder.
        codec: the encoding of the roots.
        rules: the rule set.
        director_root: file with the Director's root, None to leave it.
        image_root: file with the Image repository's root, None to leave it.
        time_key: file with the Time server's public key, PEM or the reference's JSON; None to leave it.
        replace_roots: whether a root that is there already may be replaced.

    Raises:
        SettingsError: a file cannot be read, or a root is there already.
        UptaneError: a root cannot be understood, or is not signed as it demands.
        DeviceError: the folder cannot be written.
    """
    store = FileStore(os.path.join(state, "metadata"), codec.extension)
    roots = {}
    for repository, path in ((DIRECTOR, director_root), (IMAGE, image_root)):
        if path is None:
            continue
        raw = _read(path)
        Repository(repository, codec, rules, raw, 0.0)
        there = store.load(repository, ROOT)
        if there is not None and there != raw and not replace_roots:
            raise SettingsError(
                f"{state} has a root of the {repository} repository already",
                hint="a new root comes by the chain of roots; --replace takes this one in its stead",
            )
        roots[repository] = raw
    key = read_public_key(time_key, codec) if time_key is not None else None
    for repository, raw in roots.items():
        store.save(repository, ROOT, raw)
    if key is not None:
        vehicle = Vehicle(os.path.join(state, "vehicle.sqlite"))
        vehicle.keep_fact("time_key", list(key))
        vehicle.close()


def trust_on_first_use(parts: "Parts") -> None:
    """Fetch the first root of each repository that has none, and believe it; only when somebody asked for that.

    Raises:
        TransportError: it is not to be had.
        UptaneError: it cannot be understood, or is not signed as it demands.
    """
    for repository, source in ((DIRECTOR, parts.director), (IMAGE, parts.image)):
        if parts.metadata.load(repository, ROOT) is not None:
            continue
        raw = None
        for name in (f"1.root.{parts.codec.extension}", f"root.{parts.codec.extension}"):
            raw = raw or source.metadata(name, parts.rules.caps.root)
        if raw is None or len(raw) > parts.rules.caps.root:
            raise TransportError(f"the {repository} repository has no first root")
        Repository(repository, parts.codec, parts.rules, raw, 0.0)
        parts.metadata.save(repository, ROOT, raw)


def own_key(state: str) -> schemes.PrivateKey:
    """An ECU's key in its state folder; made there when it is missing.

    Raises:
        SettingsError: it cannot be used.
        DeviceError: it cannot be written.
    """
    return key_at(os.path.join(state, "ecu.key"))


def key_at(path: str) -> schemes.PrivateKey:
    """A private key in a file; made there when it is missing.

    Raises:
        SettingsError: it cannot be used.
        DeviceError: it cannot be written.
    """
    if not os.path.exists(path):
        folder = os.path.dirname(path) or "."
        try:
            make_folders(folder, mode=0o755)
        except OSError as exc:
            raise DeviceError(f"cannot make {folder}: {exc.strerror}", path=folder, errno=exc.errno) from exc
        replace(path, schemes.generate().pem(), mode=0o600)
    return schemes.load_private(path)


def read_public_key(path: str, codec: Codec) -> Key:
    """A public key from PEM, or from the reference's ``.pub`` files.

    Raises:
        SettingsError: it is none.
    """
    raw = _read(path)
    try:
        if raw.lstrip().startswith(b"{"):
            from swagent.uptane.canonical import load

            tree = load(raw)
            kind, public = str(tree["keytype"]).lower(), str(tree["keyval"]["public"])
        else:
            kind, public = schemes.kind_of_pem(raw)
        scheme = {"ed25519": schemes.ED25519, "rsa": schemes.RSA_PSS, "ecdsa": schemes.ECDSA_P256}[kind]
        schemes.load(scheme, public)
    except (ValueError, KeyError, TypeError) as exc:
        raise SettingsError(f"{path} holds no public key that can be used: {exc}") from exc
    key = Key("", kind, scheme, public)
    return key._replace(keyid=codec.keyid(key))


def key_from_fact(fact: Any) -> Key | None:
    """A key as a vehicle's memory keeps it."""
    return Key(*fact) if fact is not None else None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    if len(raw) > FILE_MAX_BYTES:
        raise SettingsError(f"{path} is larger than {FILE_MAX_BYTES} bytes")
    return raw
