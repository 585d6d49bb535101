"""How the web server is to serve: SWUpdate's group ``webserver`` and the words of ``-w``, which win."""

import re
from collections.abc import Mapping
from getopt import GetoptError, gnu_getopt
from importlib.util import find_spec
from typing import Any, NamedTuple

from swagent.errors import RegistrationError, SettingsError, UsageError

PORT = 8080
SILENCE_S = 120
SILENCE_S_MAX = 86_400
_SHORT = "lp:r:t:sC:K:"
_SWITCHES = {"listing": "enable_directory_listing", "ssl": "ssl"}
_VALUES = {
    "port": "listening_ports",
    "document-root": "document_root",
    "timeout": "timeout",
    "auth-domain": "auth-domain",
    "global-auth-file": "global-auth-file",
    "ssl-cert": "ssl_certificate",
    "ssl-key": "ssl_certificate_key",
}
_LETTERS = {
    "l": "listing",
    "p": "port",
    "r": "document-root",
    "t": "timeout",
    "s": "ssl",
    "C": "ssl-cert",
    "K": "ssl-key",
}
_ADDRESS = re.compile(r"(?:(https?|wss?)://)?(?:(\[[0-9A-Fa-f:.]+\]|[^:/\s]*):)?([0-9]{1,5})/?\Z")
_SIZE = re.compile(r"([0-9]{1,12})([kKMG]?)\Z")
_UNITS = {"": 1, "k": 1024, "K": 1024, "M": 1024**2, "G": 1024**3}


class WebOptions(NamedTuple):
    """How to serve.

    Attributes:
        host: address to listen at, "" for all.
        port: to listen at.
        root: folder with a web application to serve instead of our page, "" for ours.
        listing: whether folders in it are listed.
        certificate: PEM file, "" for plain HTTP.
        key: its private key, "" when it is in the same file.
        client_ca: whose certificates may log in, "" for nobody's.
        realm: of the passwords.
        passwords: SWUpdate's global auth file, "" for none.
        tokens: file of tokens, "" for none.
        anonymous: whether nobody needs to log in.
        names: by which this server is called, beside its addresses and its own name.
        silence_s: how long an upload may bring nothing.
        upload_max_bytes: 0 for any.
        post_update: whether the command for after an update runs when an upload was installed.
        title: what the page calls the product.
    """

    host: str = ""
    port: int = PORT
    root: str = ""
    listing: bool = False
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    realm: str = ""
    passwords: str = ""
    tokens: str = ""
    anonymous: bool = False
    names: tuple[str, ...] = ()
    silence_s: int = SILENCE_S
    upload_max_bytes: int = 0
    post_update: bool = True
    title: str = ""


def from_words(words: str) -> dict[str, object]:
    """The words of ``-w`` as keys of the group ``webserver``; like SWUpdate, without any quoting.

    Raises:
        UsageError: a word that is no option, or one too many.
    """
    try:
        given, rest = gnu_getopt(words.split(), _SHORT, [*_SWITCHES, *(f"{name}=" for name in _VALUES)])
    except GetoptError as exc:
        raise UsageError(f"-w: {exc.msg}") from exc
    if rest:
        raise UsageError(f"-w: {rest[0][:80]!r} is no option")
    keys: dict[str, object] = {}
    for option, value in given:
        name = option.lstrip("-")
        name = _LETTERS.get(name, name)
        if name in _SWITCHES:
            keys[_SWITCHES[name]] = True
        else:
            keys[_VALUES[name]] = value
    return keys


def web_options(given: Mapping[str, Any]) -> WebOptions:
    """From the keys of the group ``webserver``.

    Raises:
        SettingsError: a value that cannot be, or nothing says who may log in.
        RegistrationError: aiohttp is not installed.
    """
    if find_spec("aiohttp") is None:
        raise RegistrationError("the web server needs swagent[web]", hint="pip install 'swagent[web]'")
    scheme, host, port = _address(str(given.get("listening_ports") or PORT))
    options = WebOptions(
        host=host,
        port=port,
        root=given.get("document_root", ""),
        listing=given.get("enable_directory_listing", False),
        certificate=given.get("ssl_certificate", ""),
        key=given.get("ssl_certificate_key", ""),
        client_ca=given.get("ssl-client-ca", ""),
        realm=given.get("auth-domain", ""),
        passwords=given.get("global-auth-file", ""),
        tokens=given.get("token-file", ""),
        anonymous=given.get("allow-anonymous", False),
        names=tuple(given.get("host-names", "").lower().split()),
        silence_s=_number(given, "timeout", SILENCE_S, SILENCE_S_MAX) or SILENCE_S_MAX,
        upload_max_bytes=_size(given.get("upload-max-size", "0")),
        post_update=given.get("run-postupdate", True),
        title=given.get("title", ""),
    )
    if (given.get("ssl") or scheme in ("https", "wss")) and not options.certificate:
        raise SettingsError("webserver: TLS needs a certificate", hint="ssl_certificate, or -C in -w")
    if options.client_ca and not options.certificate:
        raise SettingsError("webserver: ssl-client-ca makes no sense without ssl_certificate")
    if bool(options.passwords) != bool(options.realm):
        raise SettingsError("webserver: auth-domain and global-auth-file go together")
    if re.search(r'["\\\x00-\x1f\x7f]', options.realm):
        raise SettingsError("webserver: auth-domain cannot have quotes, backslashes and control characters")
    if not (options.anonymous or options.passwords or options.tokens or options.client_ca):
        raise SettingsError(
            "webserver: nothing says who may log in",
            hint="set global-auth-file and auth-domain, token-file or ssl-client-ca; "
            "or allow-anonymous = true, and everybody who reaches this device may update it",
        )
    return options


def _address(text: str) -> tuple[str, str, int]:
    """Scheme, host and port of ``8080``, ``127.0.0.1:8080`` or ``https://[::1]:8443``."""
    match = _ADDRESS.match(text)
    if match is None or not 0 <= int(match[3]) <= 65535:
        raise SettingsError(
            f"webserver: listening_ports is {text[:80]!r}", hint="write 8080 or http://127.0.0.1:8080"
        )
    return match[1] or "", (match[2] or "").strip("[]"), int(match[3])


def _number(given: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = str(given.get(key, default))
    if not (value.isascii() and value.isdecimal() and len(value) < 9 and int(value) <= most):
        raise SettingsError(f"webserver: {key} goes from 0 to {most}, not {value[:40]}")
    return int(value)


def _size(text: str) -> int:
    match = _SIZE.match(text)
    if match is None:
        raise SettingsError(
            f"webserver: upload-max-size is {text[:40]!r}", hint="write 500M or 2G, 0 for any"
        )
    return int(match[1]) * _UNITS[match[2]]
