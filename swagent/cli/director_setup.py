"""``swagent director init``, ``root`` and ``operator``: what a Director begins with, and who may order it."""

import os

from .director import (
    HOME_OPTION,
    JSON_OPTION,
    KEYS,
    PASSWORD_OPTION,
    WHERE,
    home,
    online_keys,
    open_director,
    say,
)
from .options import Args, Command, Option
from .repo import keystore
from .repo_keys import DIALECTS

OFFLINE_OPTION = Option(
    "offline-keys",
    metavar="DIR",
    group=KEYS,
    help="where the key of root is, or goes: not where the Director runs",
)
INIT = Command(
    name="director init",
    summary="a new Director with new keys and its first root",
    target="director_setup:init",
    options=(
        HOME_OPTION,
        Option(
            "database",
            metavar="URL",
            group=WHERE,
            help="the inventory: postgresql://USER@HOST/NAME, or a file of SQLite; DIR/fleet.sqlite unless said "
            "otherwise",
        ),
        Option(
            "dialect",
            metavar="NAME",
            group=WHERE,
            choices=DIALECTS,
            help="encoding; tuf1 unless said otherwise",
        ),
        OFFLINE_OPTION,
        PASSWORD_OPTION,
        JSON_OPTION,
    ),
    examples=(
        "swagent director init --home /srv/director --offline-keys /media/stick/keys",
        "swagent director init --home /srv/director --offline-keys keys --database postgresql://director@db/fleet",
    ),
)
ROOT = Command(
    name="director root",
    summary="the next root: with the online keys as they are now, or FILE as it was signed elsewhere",
    target="director_setup:root",
    arguments=("[FILE]",),
    options=(
        HOME_OPTION,
        OFFLINE_OPTION,
        Option(
            "old-keys",
            metavar="DIR",
            group=KEYS,
            help="where the root's key was until now, if it is replaced",
        ),
        Option(
            "new-online-keys", group=KEYS, help="make new keys for the other roles too; then restart `serve`"
        ),
        PASSWORD_OPTION,
        Option("out", metavar="FILE", help="write the present root there, and make none"),
    ),
    examples=(
        "swagent director root --home /srv/director --offline-keys /media/stick/keys",
        "swagent director root --home /srv/director --out root.json",
    ),
)
OPERATOR = Command(
    name="director operator",
    summary="let somebody give orders over the network; prints a token for programs, once",
    target="director_setup:operator",
    arguments=("NAME",),
    options=(
        HOME_OPTION,
        Option(
            "login-file",
            metavar="FILE",
            help="first line: the password for the page; from standard input if not given",
        ),
        Option("remove", help="let them in no more"),
        PASSWORD_OPTION,
        JSON_OPTION,
    ),
    examples=("swagent director operator anna --home /srv/director --login-file anna.txt",),
)


def init(args: Args) -> int:
    """Make keys, the inventory and the first root."""
    from swagent.clock import SystemClock
    from swagent.errors import UsageError
    from swagent.uptane_server.director_home import DATABASE, Settings, create
    from swagent.uptane_server.repository import LIFETIME_S

    folder, offline = home(args), args.get("offline-keys")
    if offline is None:
        raise UsageError(
            "--offline-keys is missing",
            hint="whoever has the key of root decides what is installed: keep it elsewhere",
        )
    database = args.get("database") or os.path.join(os.path.abspath(folder), DATABASE)
    settings = Settings(args.get("dialect") or "tuf1", database)
    director = create(folder, settings, online_keys(args), keystore(args, offline), SystemClock(), LIFETIME_S)
    say(
        args,
        {"home": folder, "dialect": settings.dialect, "database": director.inventory.name},
        f"A Director is in {folder}, its inventory in {director.inventory.name}.\n"
        "Next: `swagent director operator NAME`, `swagent director serve`",
    )
    return 0


def root(args: Args) -> int:
    """Make or take the next root, or show the present one."""
    from swagent.errors import SettingsError, UsageError
    from swagent.store.atomic import replace
    from swagent.uptane_server.director_home import KEYS as FOLDER
    from swagent.uptane_server.director_home import next_root, replace_online_keys

    director = open_director(args)
    out, offline = args.get("out"), args.get("offline-keys")
    if (out is not None) + (offline is not None) + bool(args.arguments) != 1:
        raise UsageError("say one of FILE, --offline-keys DIR and --out FILE")
    with director.inventory.look() as fleet:
        present = fleet.root()
    if out is not None:
        if present is None:
            raise SettingsError("there is no root yet")
        replace(out, present.raw)
    elif offline is not None:
        roots, old = keystore(args, offline), args.get("old-keys")
        also = keystore(args, old) if old is not None else None
        if args.on("new-online-keys"):
            new = keystore(args, os.path.join(home(args), f"{FOLDER}.new"))
            print(f"the old keys are in {replace_online_keys(home(args), director, new, roots, also)}")
        else:
            next_root(director, roots, also)
    else:
        try:
            with open(args.arguments[0], "rb") as file:
                director.add_root(file.read(1 << 20))
        except OSError as exc:
            raise SettingsError(f"cannot read {args.arguments[0]}: {exc.strerror}") from exc
    with director.inventory.look() as fleet:
        present = fleet.root()
    print(f"root {present.version if present is not None else 0}")
    return 0


def operator(args: Args) -> int:
    """Let somebody in, or no more."""
    import sys

    from swagent.crypto.keys import read_secret_file
    from swagent.uptane_server.director_access import Access

    access = Access(open_director(args))
    name, path = args.arguments[0], args.get("login-file")
    if args.on("remove"):
        access.remove(name)
        return 0
    text = read_secret_file(path, "password file").decode() if path is not None else sys.stdin.readline()
    token = access.add(name, text.splitlines()[0] if text else "")
    say(args, {"operator": name, "token": token}, f"token for {name}, shown this once: {token}")
    return 0
