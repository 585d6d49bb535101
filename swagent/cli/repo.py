"""``swagent repo``: an Image repository, from its keys to what a web server gives out."""

import os
from typing import TYPE_CHECKING, Any

from .options import Args, Group, Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swagent.uptane.codecs.base import Codec
    from swagent.uptane.metadata import Key
    from swagent.uptane.signing import Signer
    from swagent.uptane_server.image_repo import ImageRepository
    from swagent.uptane_server.keys import Keystore

COMMAND = Group(
    name="repo",
    summary="keep an Image repository: images, delegations, keys, what is published",
    verbs=(
        ("init", "repo_keys:INIT", "a new repository with new keys, published without images"),
        ("key", "repo_keys:KEY", "make a key, name one in a token, or list those there are"),
        ("add", "repo_change:ADD", "take an image in, or replace one"),
        ("remove", "repo_change:REMOVE", "describe an image no longer"),
        ("delegate", "repo_change:DELEGATE", "let others describe some images"),
        ("withdraw", "repo_change:WITHDRAW", "take a delegation back"),
        ("rotate", "repo_change:ROTATE", "give a role other keys"),
        ("sign", "repo_live:SIGN", "sign what is staged with the keys at hand"),
        ("publish", "repo_live:PUBLISH", "make what is staged what is served"),
        ("refresh", "repo_live:REFRESH", "write anew what expires soon, timestamp in any case"),
        ("show", "repo_live:SHOW", "roles, versions, expiry, keys; images with --images"),
    ),
)
WHERE, KEYS, OUT = "where", "keys", "output"
REPO_OPTION = Option("repo", metavar="DIR", group=WHERE, help="the repository; . unless said otherwise")
KEYS_OPTION = Option(
    "keys",
    metavar="PATH",
    group=KEYS,
    repeat=True,
    help="private key, or a folder of them; may be given several times; keys in --repo always count",
)
PASSWORD_OPTION = Option(
    "password-file", metavar="FILE", group=KEYS, help="first line: password of keys that are encrypted"
)
JSON_OPTION = Option("json", group=OUT, help="as one JSON object, for programs")
ROLE_OPTION = Option("role", metavar="ROLE", help="who describes it; targets unless said otherwise")
OWN_KEYS = "keys"


def repo_folder(args: Args) -> str:
    """Where the repository is."""
    return args.get("repo") or "."


def open_repository(args: Args, *, change: bool = True) -> "ImageRepository":
    """The repository that the options name; for this process alone, where it is to be changed.

    Raises:
        Busy: another process changes it.
        SettingsError, DeviceError: as ``ImageRepository``.
    """
    from swagent.clock import SystemClock
    from swagent.uptane_server.image_repo import ImageRepository

    repository = ImageRepository(repo_folder(args), SystemClock())
    if not change:
        return repository
    from .uptane_parts import lock_state

    lock_state(repository.folder, "try again when it is done")
    return ImageRepository(repository.folder, SystemClock())  # as it is now that nobody else changes it


def keystore(args: Args, folder: str) -> "Keystore":
    """A folder of keys, with the password that the options name.

    Raises:
        SettingsError: the file with the password cannot be read.
    """
    from swagent.uptane_server.keys import Keystore, Sealing

    path = args.get("password-file")
    if path is None:
        return Keystore(folder)
    from swagent.crypto.keys import read_secret_file

    lines = read_secret_file(path, "password file").splitlines()
    return Keystore(folder, Sealing(lines[0] if lines else b""))


def signers(args: Args, codec: "Codec") -> "list[Signer]":
    """All keys at hand.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return [signer for _, signer in named_signers(args, codec)]


def named_signers(args: Args, codec: "Codec") -> "Iterator[tuple[str, Signer]]":
    """All keys at hand, each with its path. Raises likewise."""
    for path in dict.fromkeys([os.path.join(repo_folder(args), OWN_KEYS), *args.all("keys")]):
        folder, one = os.path.split(path) if os.path.isfile(path) else (path, "")
        store = keystore(args, folder)
        for name in [one] if one else store.names():
            yield os.path.join(folder, name), store.signer(name, codec)


def public_keys(paths: "list[str]", codec: "Codec") -> "list[Key]":
    """Public keys from files.

    Raises:
        SettingsError: one holds none.
    """
    from swagent.uptane_client.provision import read_public_key

    return [read_public_key(path, codec) for path in paths]


def say(args: Args, tree: dict[str, Any], text: str) -> None:
    """What was done, for programs or for people."""
    if args.on("json"):
        import json

        print(json.dumps(tree))
    else:
        print(text)
