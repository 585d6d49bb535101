"""URLs: taken apart, judged, and shown without what is secret in them."""

import re
from typing import NamedTuple

from swagent.errors import TransportError, UsageError

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")
URL_CHARS_MAX = 8192


class Address(NamedTuple):
    """Where to ask for what.

    Attributes:
        scheme: ``http`` or ``https``.
        port: None for the scheme's usual one.
        target: path and query.
        auth: ``user:password``, "" for none.
    """

    scheme: str
    host: str
    port: int | None
    target: str
    auth: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be the same for secrets to be sent."""
        return self.scheme, self.host, self.port or (443 if self.scheme == "https" else 80)

    @property
    def url(self) -> str:
        """The whole address without user and password."""
        return f"{self.scheme}://{self._place}{self.target}"

    @property
    def shown(self) -> str:
        """For messages: without user, password and query, which may hold a token."""
        path, question, _ = self.target.partition("?")
        return f"{self.scheme}://{self._place}{path}{question and '?…'}"

    @property
    def _place(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def read_address(url: str) -> Address:
    """An address as somebody typed it.

    Raises:
        UsageError: it is none, or not of HTTP. The message does not repeat it: it may hold a password.
    """
    from urllib.parse import unquote

    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    if len(url) > URL_CHARS_MAX or _FORBIDDEN.search(url):
        raise UsageError("the URL has characters that no URL has, or too many", hint="write a space as %20")
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError) as exc:
        raise UsageError("the URL cannot be understood", hint="write https://host/update.swu") from exc
    if parts.scheme not in ("http", "https") or not parts.host or parts.host == ".":
        raise UsageError("the URL is not of the form https://host/path")
    return Address(parts.scheme, parts.host, parts.port, parts.request_uri, unquote(parts.auth or ""))


def follow(here: Address, location: str) -> Address:
    """Where a redirection leads; user and password stay behind when it leaves the server.

    Raises:
        TransportError: it leads from https to http, or to something that is no address of HTTP.
    """
    from urllib.parse import urljoin

    try:
        there = read_address(urljoin(here.url, location))
    except (UsageError, ValueError) as exc:
        raise TransportError(f"{here.shown} redirects to something that is no HTTP address") from exc
    if here.scheme == "https" and there.scheme != "https":
        raise TransportError(
            f"{here.shown} redirects from https to http ({there.shown})",
            hint="that would lose the server's identity; name the address with https",
        )
    return there._replace(auth=here.auth if there.origin == here.origin else "")
