"""``swagent repo sign``, ``publish``, ``refresh``, ``show``: from what is staged to what is served."""

import sys
from typing import TYPE_CHECKING, Any

from .options import Args, Command, Option
from .repo import (
    JSON_OPTION,
    KEYS_OPTION,
    PASSWORD_OPTION,
    REPO_OPTION,
    named_signers,
    open_repository,
    say,
    signers,
)
from .table import print_table

if TYPE_CHECKING:
    from swagent.uptane_server.image_repo import ImageRepository, RoleState

DAY_S = 86_400
WITHIN_DAYS = 3
KEY_OPTIONS = (KEYS_OPTION, PASSWORD_OPTION)
SIGN = Command(
    name="repo sign",
    summary="sign what is staged with the keys at hand",
    target="repo_live:sign",
    options=(REPO_OPTION, *KEY_OPTIONS, JSON_OPTION),
    examples=("swagent repo sign --repo /srv/images --keys /media/stick/keys",),
)
PUBLISH = Command(
    name="repo publish",
    summary="make what is staged what is served, if clients would take it",
    target="repo_live:publish",
    options=(REPO_OPTION, *KEY_OPTIONS, JSON_OPTION),
    examples=("swagent repo publish --repo /srv/images",),
)
REFRESH = Command(
    name="repo refresh",
    summary="write anew what expires soon, timestamp in any case; what is staged waits",
    target="repo_live:refresh",
    options=(
        REPO_OPTION,
        *KEY_OPTIONS,
        Option("within", metavar="DAYS", help=f"how soon; {WITHIN_DAYS} unless said otherwise"),
        JSON_OPTION,
    ),
    examples=("swagent repo refresh --repo /srv/images    # from a timer, each hour",),
)
SHOW = Command(
    name="repo show",
    summary="roles, versions, expiry, keys; images with --images",
    target="repo_live:show",
    options=(REPO_OPTION, Option("images", help="the images too, and who describes them"), JSON_OPTION),
    examples=("swagent repo show --repo /srv/images --images",),
)


def sign(args: Args) -> int:
    """Sign, and say what is still missing."""
    repository = open_repository(args)
    named = dict(named_signers(args, repository.codec))
    done = repository.sign(named.values())
    states = repository.states()
    missing = {
        one.role: one.needed - one.signatures for one in states if one.signatures < one.needed and one.keyids
    }
    lines = [f"{role}: signed by {len(by)} of the {len(named)} keys at hand" for role, by in done.items()]
    lines += [
        f"{role}: {count} more must sign"
        for role, count in missing.items()
        if role not in ("snapshot", "timestamp")
    ]
    if not lines:
        lines = ["nothing that these keys may sign is staged"]
    elif not missing:
        lines.append("Next: `swagent repo publish`")
    say(args, {"signed": {role: list(by) for role, by in done.items()}, "missing": missing}, "\n".join(lines))
    return 0


def publish(args: Args) -> int:
    """Go live."""
    repository = open_repository(args)
    repository.publish(signers(args, repository.codec))
    _tell(args, repository, {})
    return 0


def refresh(args: Args) -> int:
    """Keep what is served from expiring."""
    from swagent.errors import UsageError

    text = args.get("within") or str(WITHIN_DAYS)
    if not text.isascii() or not text.isdecimal() or len(text) > 5:
        raise UsageError(f"--within takes days, not {text[:20]!r}")
    repository = open_repository(args)
    left = repository.refresh(signers(args, repository.codec), within_s=int(text) * DAY_S)
    _tell(args, repository, {"left": list(left)})
    if left and not args.on("json"):
        print(f"expires soon, and must be signed by hand: {', '.join(left)}")
    return 0


def show(args: Args) -> int:
    """Print how it stands; nothing is changed."""
    from swagent.uptane.metadata import Targets
    from swagent.uptane_server.staged import targets_roles

    repository = open_repository(args, change=False)
    documents = repository.staged.documents
    bodies = {role: documents[role].body for role in targets_roles(documents)}
    targets = {role: body for role, body in bodies.items() if isinstance(body, Targets)}
    if args.on("json"):
        tree: dict[str, Any] = {
            "dialect": repository.settings.dialect,
            "live": repository.site.live,
            "roles": [_role_tree(one) for one in repository.states()],
            "delegations": [
                {"by": by, "roles": [one.name for one in entry.roles], "paths": list(entry.paths or ()),
                 "hash_prefixes": list(entry.hash_prefixes or ()), "terminating": entry.terminating,
                 "agreement": entry.agreement,
                 "hardware_ids": None if entry.hardware_ids is None else sorted(entry.hardware_ids)}
                for by, body in targets.items() for entry in body.delegations.entries
            ],
        }  # fmt: skip
        if args.on("images"):
            tree["images"] = [
                {"name": one.path, "role": role, "length": one.length_bytes, "hashes": dict(one.hashes),
                 "hardware_ids": None if one.hardware_ids is None else sorted(one.hardware_ids),
                 "release_counter": one.release_counter}
                for role, body in targets.items() for one in body.targets.values()
            ]  # fmt: skip
        say(args, tree, "")
        return 0
    print(f"{repository.settings.dialect}, served from {repository.site.live}\n")
    _print_roles(repository)
    rows = [
        (by, " + ".join(one.name for one in entry.roles), " ".join(entry.paths or entry.hash_prefixes or ()),
         "terminating" if entry.terminating else "", " ".join(sorted(entry.hardware_ids or ())))
        for by, body in targets.items() for entry in body.delegations.entries
    ]  # fmt: skip
    if rows:
        print()
        print_table(sys.stdout, ("delegated by", "to", "images", "", "hardware"), rows)
    if args.on("images"):
        from .units import size

        images = [
            (one.path, size(one.length_bytes), role, " ".join(sorted(one.hardware_ids or ())),
             "" if one.release_counter is None else str(one.release_counter), one.hashes.get("sha256", "")[:16])
            for role, body in targets.items() for one in body.targets.values()
        ]  # fmt: skip
        print()
        print_table(sys.stdout, ("image", "size", "described by", "hardware", "counter", "sha256"), images)
    return 0


def _tell(args: Args, repository: "ImageRepository", more: dict[str, Any]) -> None:
    if args.on("json"):
        say(args, {"roles": [_role_tree(one) for one in repository.states()], **more}, "")
    else:
        _print_roles(repository)


def _print_roles(repository: "ImageRepository") -> None:
    rows = []
    for one in repository.states():
        waits = "" if one.live == one.staged else f"{one.staged} staged"
        if one.signatures < one.needed:
            waits = f"{waits}, " * bool(waits) + ("withdrawn" if not one.keyids else "to be signed")
        rows.append(
            (one.role, "none" if one.live is None else str(one.live), waits, _until(one.expires_s - repository.now_s()),
             f"{one.signatures} of {one.needed}", " ".join(keyid[:8] for keyid in one.keyids))
        )  # fmt: skip
    print_table(sys.stdout, ("role", "live", "next", "expires", "signed", "keys"), rows)


def _role_tree(one: "RoleState") -> dict[str, Any]:
    from .units import utc

    return {
        **one._asdict(),
        "expires_s": one.expires_s,
        "expires": utc(one.expires_s),
        "keyids": list(one.keyids),
    }


def _until(seconds: int) -> str:
    if seconds <= 0:
        return "EXPIRED"
    days = seconds // DAY_S
    return f"in {days} days" if days > 1 else f"in {seconds // 3600} h"
