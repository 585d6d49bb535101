"""The client's list of servers, in the file that Boardswarm's own command line keeps (boardswarm §5)."""

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from swagent.errors import RegistrationError, SettingsError, UsageError
from swagent.store.atomic import make_folders, replace

from .client import LabClient, read_token
from .login import Login, Question, Session

_BYTES_MAX = 1024 * 1024
_TAGS = ("!Token", "!Oidc")


class KnownServer(NamedTuple):
    """One server.

    Attributes:
        name: what the user calls it.
        token: for ``!Token``, else "".
        login: for ``!Oidc``, else None.
    """

    name: str
    uri: str
    token: str = ""
    login: Login | None = None


def default_path(environ: Mapping[str, str]) -> str:
    """Where the list is, as the XDG base directories have it."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/", ".config")
    return os.path.join(home, "boardswarm", "config.yaml")


def read_servers(path: str) -> list[KnownServer]:
    """The servers, the default one first; none of a file that is not there.

    Raises:
        SettingsError: the file cannot be read or understood, or others may read its tokens.
        RegistrationError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as exc:
        raise RegistrationError("the lab needs PyYAML", hint="pip install 'swagent[lab]'") from exc
    from swagent.crypto.keys import read_secret_file

    if not os.path.exists(path):
        return []

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
        """Knows the two kinds of logins."""

    for tag in _TAGS:
        Loader.add_constructor(tag, lambda loader, node: (node.tag, _content(loader, node)))
    try:
        tree = yaml.load(read_secret_file(path, "list of servers")[:_BYTES_MAX], Loader)  # noqa: S506 - a SafeLoader
        return [_server(one) for one in (tree or {}).get("servers") or []]
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        RecursionError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as exc:
        raise SettingsError(f"{path} is no list of servers", hint="`swagent lab auth` makes one") from exc


def write_servers(path: str, servers: list[KnownServer]) -> None:
    """Keep the list, for its owner alone.

    Raises:
        SettingsError: it cannot be written.
    """
    import yaml

    class Token(str):
        """Written with its tag."""

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # as above
        """Knows the tag of tokens."""

    class Oidc(dict):  # type: ignore[type-arg]  # of texts
        """Written with its tag."""

    Dumper.add_representer(Token, lambda dumper, text: dumper.represent_scalar("!Token", str(text)))
    Dumper.add_representer(Oidc, lambda dumper, facts: dumper.represent_mapping("!Oidc", facts.items()))

    def auth(one: KnownServer) -> object:
        if one.login is None:
            return Token(one.token)
        return Oidc(uri=one.login.uri, client_id=one.login.client_id, token_cache=one.login.cache)

    tree = {"servers": [{"name": one.name, "uri": one.uri, "auth": auth(one)} for one in servers]}
    try:
        make_folders(os.path.dirname(os.path.abspath(path)), mode=0o700)
        replace(path, yaml.dump(tree, Dumper=Dumper, sort_keys=False).encode(), mode=0o600)
    except OSError as exc:
        raise SettingsError(f"cannot write {path}: {exc.strerror}") from exc


def choose(servers: list[KnownServer], name: str | None, path: str) -> KnownServer:
    """The server of a name, or the default one.

    Raises:
        UsageError: there is none.
    """
    if not servers:
        raise UsageError(
            "no server is known", hint="name one with --server, or keep it with `swagent lab auth init`"
        )
    if name is None:
        return servers[0]
    for one in servers:
        if one.name == name:
            return one
    raise UsageError(
        f"there is no server {name!r} in {path}", hint=f"known are {', '.join(s.name for s in servers)}"
    )


def cache_path(path: str, name: str) -> str:
    """Where the tokens of a server are kept: beside the list, where Boardswarm's own command line has them."""
    return os.path.join(
        os.path.dirname(os.path.abspath(path)), name.replace(os.sep, "_").replace(".", "_") + ".token"
    )


class Where(NamedTuple):
    """Which server: of a list, or at an address.

    Attributes:
        path: of the list.
        instance: a name of the list, None for the default one.
        uri: an address instead.
        token_file: a token for that address.
        ca_file: PEM of the authorities to believe, None for the system's.
    """

    path: str
    instance: str | None = None
    uri: str | None = None
    token_file: str | None = None
    ca_file: str | None = None


def reach(where: Where, ask: Callable[[Question], None] | None = None) -> LabClient:
    """A client of a server; it is closed by ``with``.

    Args:
        where: which.
        ask: is told what a person must do to log in; None where nobody is there.

    Raises:
        UsageError: no such server is known.
        SettingsError: a file cannot be read, or the address is none.
        RegistrationError: a library is missing.
    """
    ca = None
    if where.ca_file is not None:
        try:
            with open(where.ca_file, "rb") as file:
                ca = file.read()
        except OSError as exc:
            raise SettingsError(f"cannot read {where.ca_file}: {exc.strerror}") from exc
    if where.uri is not None:
        token = read_token(where.token_file) if where.token_file is not None else ""
        return LabClient(where.uri, token, ca=ca)
    known = choose(read_servers(where.path), where.instance, where.path)
    if known.login is None:
        return LabClient(known.uri, known.token, ca=ca)
    session = Session(known.login, ask)
    session.token()  # what is wrong with it is told here, and not in the middle of something
    return LabClient(known.uri, session.token, ca=ca)


def _content(loader: object, node: object) -> object:
    if getattr(node, "id", "") == "scalar":
        return loader.construct_scalar(node)  # type: ignore[attr-defined]  # a yaml loader
    return loader.construct_mapping(node)  # type: ignore[attr-defined]  # as above


def _server(one: Mapping[str, object]) -> KnownServer:
    auth = one["auth"]
    if not isinstance(auth, tuple):
        raise TypeError("auth has no tag")
    kind, content = auth
    name, uri = str(one["name"]), str(one["uri"])
    if kind == "!Token":
        return KnownServer(name, uri, str(content))
    login = Login(str(content["uri"]), str(content["client_id"]), str(content["token_cache"]))
    return KnownServer(name, uri, login=login)
