"""The option strings of ``-u`` and ``-d`` (runtime interfaces §1.2): split at white space, laid over the settings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from swagent.errors import SettingsError, UsageError
from swagent.settings import InstallSettings, layer, with_pairs

STATES = ("0", "1", "2", "3", "6")


class Word(NamedTuple):
    """One option.

    Attributes:
        short: one letter, "" for none.
        long: name.
        values: how many words follow; -1 for one that may be in the same word.
        key: of the settings, "" when it is none.
    """

    short: str
    long: str
    values: int
    key: str = ""


_COMMON = (
    Word("e", "enable", 0),
    Word("d", "disable", 0),
    Word("S", "server", 1, "suricatta.server"),
)


def _channel(group: str) -> tuple[Word, ...]:
    return (
        Word("u", "url", 1, f"{group}.url"),
        Word("p", "polldelay", 1, f"{group}.polldelay"),
        Word("r", "retry", 1, f"{group}.retry"),
        Word("w", "retrywait", 1, f"{group}.retrywait"),
        Word("x", "nocheckcert", 0, f"{group}.nocheckcert"),
        Word("y", "proxy", -1, f"{group}.proxy"),
        Word("n", "max-download-speed", 1, f"{group}.max-download-speed"),
        Word("a", "custom-http-header", 2),
        Word("", "identify", 2),
        Word("", "cache", 1),
    )


_SERVERS: Mapping[str, tuple[Word, ...]] = {
    "hawkbit": (
        *_channel("hawkbit"),
        Word("t", "tenant", 1, "hawkbit.tenant"),
        Word("i", "id", 1, "hawkbit.id"),
        Word("c", "confirm", 1),
        Word("k", "targettoken", 1, "hawkbit.targettoken"),
        Word("g", "gatewaytoken", 1, "hawkbit.gatewaytoken"),
        Word("f", "interface", 1, "hawkbit.interface"),
        Word("m", "initial-report-resend-period", 1, "hawkbit.initial-report-resend-period"),
        Word("s", "connection-timeout", 1, "hawkbit.connection-timeout"),
        Word("", "disable-token-for-dwl", 0),
    ),
    "general": (*_channel("gservice"), Word("l", "logurl", 1, "gservice.logurl")),
}
_DOWNLOAD = (
    Word("u", "url", 1, "download.url"),
    Word("r", "retries", 1, "download.retries"),
    Word("w", "retrywait", 1, "download.retrywait"),
    Word("t", "timeout", 1, "download.timeout"),
    Word("a", "authentication", 1, "download.authentication"),
    Word("n", "max-download-speed", 1, "download.max-download-speed"),
)


def read_suricatta(
    text: str, settings: InstallSettings, environ: Mapping[str, str]
) -> tuple[InstallSettings, dict[str, Any]]:
    """The string of ``-u``.

    Args:
        text: as it was typed.
        settings: to lay it over.
        environ: where ``-y`` without a value finds the proxy.

    Returns:
        the settings, and what is none: ``enable``, ``state``, ``cache``, ``headers``.

    Raises:
        UsageError: it makes no sense.
    """
    words = text.split()
    server = _server(words, settings)
    table = (*_COMMON, *_SERVERS.get(server, ()))
    given = _parse(words, table, "-u")
    rest: dict[str, Any] = {}
    values: dict[str, object] = {"suricatta.server": server}
    for word, found in given:
        if word.key:
            values[word.key] = found[0] if found else True
        elif word.long in ("enable", "disable"):
            values["suricatta.enable"] = word.long == "enable"
        elif word.long == "disable-token-for-dwl":
            values["hawkbit.usetokentodwl"] = False
        elif word.long == "cache":
            rest["cache"] = found[0]
        elif word.long == "confirm":
            if found[0] not in STATES:
                raise UsageError(f"-u: -c takes one of {', '.join(STATES)}, not {found[0][:20]!r}")
            rest["state"] = found[0]
    for key, value in values.items():
        if key.endswith(".proxy") and value is True:
            values[key] = _proxy_of(environ)
    try:
        settings = layer(settings, values, origins="command line -u")
        for long, name in (("identify", "identify"), ("custom-http-header", "custom-http-headers")):
            pairs = tuple((found[0], found[1]) for word, found in given if word.long == long)
            if pairs:
                settings = with_pairs(settings, name, pairs, origin="command line -u")
            if pairs and long == "custom-http-header":
                rest["headers"] = tuple((name.removesuffix(":"), value) for name, value in pairs)
    except SettingsError as exc:
        raise UsageError(exc.message, hint=exc.hint) from exc
    return settings, rest


def read_download(text: str, settings: InstallSettings) -> InstallSettings:
    """The string of ``-d``, laid over the settings.

    Raises:
        UsageError: it makes no sense.
    """
    values = {word.key: found[0] for word, found in _parse(text.split(), _DOWNLOAD, "-d")}
    try:
        return layer(settings, values, origins="command line -d")
    except SettingsError as exc:
        raise UsageError(exc.message, hint=exc.hint) from exc


def server_of(settings: InstallSettings) -> str:
    """The backend that the settings name; "" when they leave it open."""
    named = settings.suricatta.get("server", "")
    if named:
        return str(named)
    known = [
        name
        for name, given in (
            ("hawkbit", {**settings.suricatta, **settings.hawkbit}),
            ("general", settings.gservice),
        )
        if given.get("url")
    ]
    return known[0] if len(known) == 1 else ""


def _server(words: list[str], settings: InstallSettings) -> str:
    for at, word in enumerate(words):
        if word in ("-S", "--server") and at + 1 < len(words):
            name = words[at + 1]
            break
        if word.startswith("--server="):
            name = word.partition("=")[2]
            break
    else:
        name = server_of(settings)
    from . import registry

    if name not in _SERVERS and name not in registry():
        what = f"the backend {name[:40]!r} is not there" if name else "which server? say -S"
        raise UsageError(f"-u: {what}", hint=f"known are {', '.join(registry().names())}")
    return name


def _parse(words: list[str], table: tuple[Word, ...], where: str) -> list[tuple[Word, list[str]]]:
    names = {f"-{word.short}": word for word in table if word.short} | {
        f"--{word.long}": word for word in table
    }
    found: list[tuple[Word, list[str]]] = []
    waiting = list(reversed(words))
    while waiting:
        text = waiting.pop()
        name, equals, value = text.partition("=") if text.startswith("--") else (text[:2], "", text[2:])
        word = names.get(name)
        if word is None:
            raise UsageError(f"{where}: unknown option {text[:40]!r}", hint=f"known are {' '.join(names)}")
        inside = [value] if value or equals else []
        if word.values == 0 and inside:
            raise UsageError(f"{where}: {name} takes no value")
        values = inside
        while len(values) < word.values:
            if not waiting:
                raise UsageError(f"{where}: {name} wants {word.values} value{'s' if word.values > 1 else ''}")
            values.append(waiting.pop())
        found.append((word, values))
    return found


def _proxy_of(environ: Mapping[str, str]) -> str:
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"):
        if environ.get(name):
            return environ[name]
    raise UsageError("-u: -y names no proxy, and the environment has none", hint="write -yhttp://proxy:3128")
