"""The client's list of servers, in the file that Boardswarm's own command line keeps (boardswarm §5)."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from swagent.errors import RegistrationError, SettingsError, UsageError
from swagent.store.atomic import make_folders, replace

_BYTES_MAX = 1024 * 1024
_TAGS = ("!Token", "!Oidc")


class KnownServer(NamedTuple):
    """One server.

    Attributes:
        name: what the user calls it.
        token: for ``!Token``, "" for another kind of login.
    """

    name: str
    uri: str
    token: str = ""


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

    Dumper.add_representer(Token, lambda dumper, text: dumper.represent_scalar("!Token", str(text)))
    tree = {"servers": [{"name": one.name, "uri": one.uri, "auth": Token(one.token)} for one in servers]}
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


def _content(loader: object, node: object) -> object:
    if getattr(node, "id", "") == "scalar":
        return loader.construct_scalar(node)  # type: ignore[attr-defined]  # a yaml loader
    return loader.construct_mapping(node)  # type: ignore[attr-defined]  # as above


def _server(one: Mapping[str, object]) -> KnownServer:
    auth = one["auth"]
    if not isinstance(auth, tuple):
        raise TypeError("auth has no tag")
    kind, content = auth
    return KnownServer(str(one["name"]), str(one["uri"]), str(content) if kind == "!Token" else "")
