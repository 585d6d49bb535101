"""A Director's folder: its settings, its online keys, vehicles' images; the inventory is there too, or in a server."""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from swagent.clock import Clock
from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import fsync_folder, make_folders, replace
from swagent.uptane.codecs import NAMES, codec
from swagent.uptane.codecs.base import Codec
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from swagent.uptane.signing import Signer

from .director import Director
from .director_desk import DirectorDesk
from .director_folder import VehicleFolders
from .director_intake import LENIENT, Policy
from .inventory import Inventory
from .keys import Keystore

SETTINGS, KEYS, VEHICLES, DATABASE = "director.json", "keys", "vehicles", "fleet.sqlite"


class Settings(NamedTuple):
    """What ``director.json`` says.

    Attributes:
        dialect: the encoding.
        database: where the inventory is.
    """

    dialect: str
    database: str


def online_roles(dialect: str) -> tuple[str, ...]:
    """The roles whose keys a Director has at hand; aktualizr's have no lists."""
    return (TARGETS,) if dialect == "ak" else (TARGETS, SNAPSHOT, TIMESTAMP)


def create(
    folder: str,
    settings: Settings,
    online: Keystore,
    root: Keystore,
    clock: Clock,
    lifetime_s: Mapping[str, int],
) -> Director:
    """A new Director with new keys, or those that are in their places already, and its first root.

    Raises:
        SettingsError: there is one already, or a key cannot be used.
        DeviceError, TransportError: the folder or the inventory cannot be written.
    """
    path = os.path.join(folder, SETTINGS)
    if os.path.lexists(path):
        raise SettingsError(f"there is a Director in {folder} already")
    try:
        make_folders(folder)
    except OSError as exc:
        raise DeviceError(f"cannot make {folder}: {exc.strerror}", path=folder, errno=exc.errno) from exc
    encoding = codec(settings.dialect)
    inventory = Inventory(settings.database)
    inventory.upgrade()
    signers = {role: [_made(online, role, encoding)] for role in online_roles(settings.dialect)}
    director = Director(inventory, encoding, signers, clock, lifetime_s=lifetime_s)
    with inventory.look() as fleet:
        has_root = fleet.root() is not None
    if has_root:
        raise SettingsError(f"the inventory {inventory.name} has a Director already")
    director.issue_root([_made(root, ROOT, encoding)])
    replace(path, json.dumps(settings._asdict(), indent=1).encode() + b"\n")
    return director


def open_settings(folder: str) -> Settings:
    """What a Director's folder says.

    Raises:
        SettingsError: there is no Director, or its settings make no sense.
    """
    path = os.path.join(folder, SETTINGS)
    try:
        with open(path, "rb") as file:
            tree = json.loads(file.read(64 * 1024))
        settings = Settings(str(tree["dialect"]), str(tree["database"]))
    except FileNotFoundError as exc:
        raise SettingsError(
            f"there is no Director in {folder}", hint="`swagent director init` makes one"
        ) from exc
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SettingsError(f"{path} cannot be used: {exc}") from exc
    if settings.dialect not in NAMES:
        raise SettingsError(f"{path}: {settings.dialect[:40]!r} is no dialect")
    return settings


def open_director(folder: str, online: Keystore, clock: Clock, *, policy: Policy = LENIENT) -> Director:
    """The Director of a folder.

    Raises:
        SettingsError: there is none, or a key cannot be used.
        DeviceError, TransportError: the inventory cannot be used.
    """
    settings = open_settings(folder)
    encoding = codec(settings.dialect)
    inventory = Inventory(settings.database)
    inventory.upgrade()
    signers = {role: [online.signer(role, encoding)] for role in online_roles(settings.dialect)}
    return Director(inventory, encoding, signers, clock, policy=policy)


def open_desk(folder: str, director: Director, sources: str | None, *, static: bool) -> DirectorDesk:
    """Orders that touch files of that folder."""
    return DirectorDesk(
        director, VehicleFolders(os.path.join(folder, VEHICLES)), sources=sources, static=static
    )


def next_root(director: Director, roots: Keystore, also: Keystore | None) -> None:
    """The next root of a Director, by the root key in ``roots``, and by that in ``also`` if it is another.

    Raises:
        SettingsError: a key cannot be used.
        UptaneError: it does not follow.
    """
    signers = [_made(roots, ROOT, director.codec)]
    director.issue_root(signers, also=[also.signer(ROOT, director.codec)] if also is not None else [])


def replace_online_keys(
    folder: str, director: Director, new: Keystore, roots: Keystore, also: Keystore | None
) -> str:
    """New online keys, and the root that lists them; returns where the old ones lie now.

    The root comes first: when this ends between the two, doing it again ends it well.

    Args:
        folder: the Director's.
        director: the Director.
        new: where the new keys are made, beside the present ones; keys that are there already are used.
        roots: where the root's key is.
        also: where it was until now, if it is another.

    Raises:
        SettingsError: a key cannot be used.
        UptaneError: the root does not follow.
        DeviceError: the folders cannot be renamed.
    """
    encoding = director.codec
    director.use_signers({role: [_made(new, role, encoding)] for role in online_roles(encoding.name)})
    next_root(director, roots, also)
    present = os.path.join(folder, KEYS)
    with director.inventory.look() as fleet:
        root = fleet.root()
    old = f"{present}.until-root-{root.version if root is not None else 0}"
    try:
        os.rename(present, old)
        os.rename(new.folder, present)
        fsync_folder(folder)
    except OSError as exc:
        raise DeviceError(f"cannot rename {present}: {exc.strerror}", path=present, errno=exc.errno) from exc
    return old


def _made(store: Keystore, name: str, encoding: Codec) -> Signer:
    if name not in store.names():
        store.generate(name)
    return store.signer(name, encoding)
