"""``swagent lab auth``: the list of servers, as Boardswarm's own command line keeps it."""

import sys

from swagent.errors import UsageError

from .lab_parts import config_path, one_of
from .options import Args, Command, Option

VERBS = ("init", "info", "list", "set-default", "remove", "modify")
COMMAND = Command(
    name="lab auth",
    summary="init or modify a server, remove it, set-default, list, info; -i names it",
    target="lab_auth:run",
    arguments=("VERB",),
    options=(
        Option("instance", "i", "NAME", "what the server is called"),
        Option("uri", "u", "URI", "its address, http://host:6683 or https://host:6683"),
        Option("token-file", "", "FILE", "a file with its token in the first line"),
        Option("config", "c", "FILE", "the list, default ~/.config/boardswarm/config.yaml"),
    ),
    examples=(
        "swagent lab auth init -i office -u https://lab.example:6683 --token-file token",
        "swagent lab auth list",
        "swagent lab auth set-default -i office",
    ),
)


def run(args: Args) -> int:
    """Read the list, change it, write it."""
    from swagent.lab.client import read_token
    from swagent.lab.servers import KnownServer, choose, read_servers, write_servers

    from .table import print_table

    verb, path, name = one_of(args.arguments[0], VERBS), config_path(args), args.get("instance")
    servers = read_servers(path)
    if verb in ("list", "info"):
        shown = servers if verb == "list" else [choose(servers, name, path)]
        rows = [
            (one.name, one.uri, "a token" if one.token else "a login", "default" if one is servers[0] else "")
            for one in shown
        ]
        print_table(sys.stdout, ("name", "address", "with", ""), rows)
        return 0
    if name is None:
        raise UsageError(f"{verb} needs -i NAME")
    token_file, uri = args.get("token-file"), args.get("uri")
    if verb == "init":
        if uri is None or token_file is None:
            raise UsageError("init needs --uri and --token-file")
        if any(one.name == name for one in servers):
            raise UsageError(f"there is a server {name!r} already", hint="use modify")
        servers.append(KnownServer(name, uri, read_token(token_file)))
    else:
        found = choose(servers, name, path)
        at = servers.index(found)
        del servers[at]
        if verb == "set-default":
            servers.insert(0, found)
        elif verb == "modify":
            token = read_token(token_file) if token_file is not None else found.token
            servers.insert(at, KnownServer(name, uri or found.uri, token))
    write_servers(path, servers)
    return 0
