"""``swagent repo init`` and ``key``: what a repository begins with."""

import os
from typing import TYPE_CHECKING

from .options import Args, Command, Option
from .repo import JSON_OPTION, KEYS, OWN_KEYS, PASSWORD_OPTION, REPO_OPTION, WHERE, keystore, repo_folder, say

if TYPE_CHECKING:
    from swagent.crypto.schemes import Signing
    from swagent.uptane_server.keys import Keystore

SCHEMES = (
    "ed25519",
    "rsassa-pss-sha256",
    "ecdsa-sha2-nistp256",
)
DIALECTS = ("tuf1", "ak", "ref-json", "ref-der")
LIFETIMES = ("root", "targets", "snapshot", "timestamp")
SCHEME_OPTION = Option(
    "scheme", metavar="NAME", group=KEYS, choices=SCHEMES, help="of new keys; ed25519 unless said otherwise"
)
INIT = Command(
    name="repo init",
    summary="a new repository with new keys, published without images",
    target="repo_keys:init",
    options=(
        REPO_OPTION,
        Option(
            "dialect",
            metavar="NAME",
            group=WHERE,
            choices=DIALECTS,
            help="encoding; tuf1 unless said otherwise",
        ),
        Option(
            "offline-keys",
            metavar="DIR",
            group=KEYS,
            help="where the keys of root and targets go; keys that are there already are used",
        ),
        SCHEME_OPTION,
        PASSWORD_OPTION,
        *(
            Option(f"{role}-days", metavar="DAYS", group="how long files are good for", help=f"{role}")
            for role in LIFETIMES
        ),
        JSON_OPTION,
    ),
    examples=(
        "swagent repo init --repo /srv/images --offline-keys /media/stick/keys",
        "swagent repo init --repo demo --offline-keys demo-keys --dialect ref-der",
    ),
)
KEY = Command(
    name="repo key",
    summary="make a key, or name one that is elsewhere; without NAME list those there are",
    target="repo_keys:key",
    arguments=("[NAME]",),
    options=(
        REPO_OPTION,
        Option("keys", metavar="DIR", group=KEYS, help="folder of private keys; keys in --repo otherwise"),
        Option("uri", metavar="URI", group=KEYS, help="the key is there, such as pkcs11:token=…"),
        SCHEME_OPTION,
        PASSWORD_OPTION,
        JSON_OPTION,
    ),
    examples=(
        "swagent repo key targets-2027 --keys /media/stick/keys",
        "swagent repo key supplier --keys . --scheme ecdsa-sha2-nistp256",
        "swagent repo key --keys /media/stick/keys",
    ),
)


def init(args: Args) -> int:
    """Make keys, sign the first files, publish."""
    from swagent.clock import SystemClock
    from swagent.errors import UsageError
    from swagent.uptane.codecs import codec
    from swagent.uptane.signing import Signer
    from swagent.uptane_server.image_repo import SETTINGS, Settings, create
    from swagent.uptane_server.repository import DAY_S, LIFETIME_S

    folder = repo_folder(args)
    lifetime_s = dict(LIFETIME_S)
    for role in LIFETIMES:
        text = args.get(f"{role}-days")
        if text is None:
            continue
        if not text.isascii() or not text.isdecimal() or not 0 < int(text[:6]) < 100_000 or len(text) > 5:
            raise UsageError(f"--{role}-days takes days, not {text[:20]!r}")
        lifetime_s[role] = int(text) * DAY_S
    offline = args.get("offline-keys")
    if offline is None:
        raise UsageError(
            "--offline-keys is missing",
            hint="whoever has the keys of root and targets decides what is installed: keep them elsewhere",
        )
    settings = Settings(args.get("dialect") or "tuf1", lifetime_s)
    if os.path.lexists(os.path.join(folder, SETTINGS)):
        from swagent.errors import SettingsError

        raise SettingsError(f"there is a repository in {folder} already")
    stores = {role: keystore(args, offline) for role in ("root", "targets")}
    stores |= {role: keystore(args, os.path.join(folder, OWN_KEYS)) for role in ("snapshot", "timestamp")}
    encoding = codec(settings.dialect)
    signers = {role: Signer(_made(args, store, role), encoding) for role, store in stores.items()}
    repository = create(folder, settings, {role: [one.key] for role, one in signers.items()}, SystemClock())
    repository.sign(signers.values())
    repository.publish(signers.values())
    tree = {"repo": folder, "dialect": settings.dialect, "live": repository.site.live}
    say(
        args,
        tree,
        f"{repository.site.live} can be served; nothing is in it yet.\nNext: `swagent repo add IMAGE`",
    )
    return 0


def key(args: Args) -> int:
    """Make one key, or list all."""
    import sys

    from swagent.errors import UsageError

    from .table import print_table

    store = keystore(args, args.get("keys") or os.path.join(repo_folder(args), OWN_KEYS))
    if not args.arguments:
        found = [(name, store.open(name)) for name in store.names()]
        if args.on("json"):
            say(
                args,
                {"keys": [{"name": name, "scheme": one.scheme, "public": one.public} for name, one in found]},
                "",
            )
        else:
            rows = [(name, one.scheme, _short(one)) for name, one in found]
            print_table(sys.stdout, ("key", "scheme", "public value"), rows)
        return 0
    name, uri = args.arguments[0], args.get("uri")
    if uri is not None and args.get("scheme") is not None:
        raise UsageError("--scheme is for new keys, --uri for one that there is")
    made = (
        store.refer(name, uri) if uri is not None else store.generate(name, args.get("scheme") or SCHEMES[0])
    )
    public = store.public_file(name)
    say(args, {"name": name, "scheme": made.scheme, "public": made.public, "public_file": public}, public)
    return 0


def _made(args: Args, store: "Keystore", name: str) -> "Signing":
    if name in store.names():
        return store.open(name)
    return store.generate(name, args.get("scheme") or SCHEMES[0])


def _short(key: "Signing") -> str:
    if key.kind == "ed25519":
        return f"{key.public[:16]}…"
    return f"{''.join(key.public.splitlines()[1:-1])[-24:-4]}…"
