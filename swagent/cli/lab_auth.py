"""``swagent lab auth``: the list of servers, as Boardswarm's own command line keeps it."""

import sys
from typing import TYPE_CHECKING

from swagent.errors import UsageError

from .lab_parts import asking, config_path, one_of, tell_login
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.lab.servers import KnownServer

VERBS = ("init", "login", "login-info", "info", "list", "set-default", "remove", "modify")
LIST_OPTIONS = (
    Option("instance", "i", "NAME", "what the server is called"),
    Option("uri", "u", "URI", "its address, http://host:6683 or https://host:6683"),
    Option(
        "token-file", "", "FILE", "a file with its token in the first line; default: log in with a browser"
    ),
    Option(
        "ca", "", "PEM", "authorities to believe instead of the system's, while it is asked how to log in"
    ),
    Option("config", "c", "FILE", "the list, default ~/.config/boardswarm/config.yaml"),
)
COMMAND = Command(
    name="lab auth",
    summary="init or modify a server, login anew, remove it, set-default, list, info; login-info asks the server "
    "how to log in; -i names it",
    target="lab_auth:run",
    arguments=("VERB",),
    options=LIST_OPTIONS,
    examples=(
        "swagent lab auth init -i office -u https://lab.example:6683",
        "swagent lab auth init -i attic -u http://attic:6683 --token-file token",
        "swagent lab auth list",
        "swagent lab auth set-default -i office",
    ),
)


def run(args: Args) -> int:
    """Read the list, change it, write it."""
    from swagent.lab.servers import choose, read_servers, write_servers

    verb, path, name = one_of(args.arguments[0], VERBS), config_path(args), args.get("instance")
    servers = read_servers(path)
    if verb in ("list", "info"):
        _show(servers, servers if verb == "list" else [choose(servers, name, path)])
        return 0
    if verb == "login-info":
        _login_info(args, args.get("uri") or choose(servers, name, path).uri)
        return 0
    if name is None:
        raise UsageError(f"{verb} needs -i NAME")
    if verb == "init":
        add(args, servers, name, path)
    else:
        found = choose(servers, name, path)
        at = servers.index(found)
        if verb == "login":
            _log_in_anew(found)
            return 0
        del servers[at]
        if verb == "set-default":
            servers.insert(0, found)
        elif verb == "modify":
            servers.insert(at, changed(args, found))
        elif found.login is not None:
            _forget(found.login.cache)
    write_servers(path, servers)
    return 0


def add(args: Args, servers: "list[KnownServer]", name: str, path: str) -> None:
    """Put a server at the end of the list; without a token somebody logs in now.

    Raises:
        UsageError: it is there already, or has no address.
    """
    from swagent.lab.client import address_of, read_token
    from swagent.lab.servers import KnownServer, cache_path

    uri, token_file = args.get("uri"), args.get("token-file")
    if uri is None:
        raise UsageError("a new server needs --uri")
    if any(one.name == name for one in servers):
        raise UsageError(f"there is a server {name!r} already", hint="use modify")
    address_of(uri)
    if token_file is not None:
        servers.append(KnownServer(name, uri, read_token(token_file)))
        return
    from swagent.lab.login import Login, Session

    logins = _logins(args, uri)
    if not logins:
        raise UsageError(
            f"{uri} has nobody to log in at", hint="its tokens come from its owner: --token-file FILE"
        )
    _, issuer, client_id = logins[0]
    login = Login(issuer, client_id, cache_path(path, name))
    Session(login, tell_login).log_in()
    servers.append(KnownServer(name, uri, login=login))


def changed(args: Args, found: "KnownServer") -> "KnownServer":
    """A server with what the options say anew."""
    from swagent.lab.client import address_of, read_token

    uri, token_file = args.get("uri"), args.get("token-file")
    if uri is not None:
        address_of(uri)
        found = found._replace(uri=uri)
    return found if token_file is None else found._replace(token=read_token(token_file), login=None)


def _show(servers: "list[KnownServer]", shown: "list[KnownServer]") -> None:
    from .table import print_table

    rows = [
        (
            one.name,
            one.uri,
            "a token" if one.login is None else f"a login at {one.login.uri}",
            "default" if one is servers[0] else "",
        )
        for one in shown
    ]
    print_table(sys.stdout, ("name", "address", "with", ""), rows)


def _login_info(args: Args, uri: str) -> None:
    from .table import print_table

    print_table(sys.stdout, ("login", "issuer", "client"), _logins(args, uri))


def _logins(args: Args, uri: str) -> list[tuple[str, str, str]]:
    from swagent.lab.servers import Where, reach

    with reach(Where(config_path(args), uri=uri, ca_file=args.get("ca"))) as client:
        return client.logins()


def _log_in_anew(found: "KnownServer") -> None:
    from swagent.lab.login import Session

    if found.login is None:
        raise UsageError(f"{found.name} has a token, and no login", hint="modify it with --token-file")
    Session(found.login, asking() or tell_login).log_in()


def _forget(cache: str) -> None:
    import os
    from contextlib import suppress

    with suppress(OSError):
        os.unlink(cache)
