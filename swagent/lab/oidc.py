"""Tokens of an OpenID Connect issuer: its keys are fetched at the start and again each minute (boardswarm §2)."""

import json
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from swagent.clock import SystemClock
from swagent.errors import SettingsError, SwagentError
from swagent.net.exchange import HttpExchange
from swagent.net.options import HttpOptions

from .auth import believed, read_key_set
from .config import Oidc
from .errors import Unauthenticated

if TYPE_CHECKING:
    import jwt

REFRESH_S = 60.0
_DOCUMENT_BYTES_MAX = 1024 * 1024
ISSUER_OPTIONS = HttpOptions(retries=0, timeout_s=20.0, connect_s=10.0)
"""How issuers are asked."""


class IssuerKeys:
    """The keys of one issuer, and what its tokens must say.

    Args:
        rule: the issuer.

    Raises:
        SettingsError: it cannot be asked, or its answers make no sense.
        RegistrationError: a library is missing.
    """

    def __init__(self, rule: Oidc) -> None:
        self._rule = rule
        found = discover(rule.uri)
        self._issuer = text_of(found, "issuer", rule.uri)
        self._keys_uri = text_of(found, "jwks_uri", rule.uri)
        claims = found.get("claims_supported")
        self._has_nbf = isinstance(claims, list) and "nbf" in claims
        self._keys: Mapping[str, jwt.PyJWK] = self._fetch()

    def holds(self, kid: str) -> bool:
        """Whether it has a key of this name."""
        return kid in self._keys

    def claims(self, token: str, kid: str, algorithm: str) -> Mapping[str, Any]:
        """What a token says.

        Raises:
            Unauthenticated: it is not of this issuer, not for us, expired, or not to be believed.
        """
        options: dict[str, Any] = {
            "require": ["exp", "iss", *(["nbf"] if self._has_nbf else [])],
            "verify_nbf": True,
        }
        rules: dict[str, Any] = {"issuer": self._issuer}
        if self._rule.audience:
            options |= {"require": [*options["require"], "aud"], "verify_aud": True}
            rules["audience"] = list(self._rule.audience)
        key = self._keys.get(kid)
        if key is None:
            raise Unauthenticated("this issuer's key has been replaced")
        return believed(token, key, algorithm, options=options, **rules)

    def refresh(self) -> None:
        """Fetch the keys again; those of before stay when that fails.

        Raises:
            SwagentError: it failed.
        """
        self._keys = self._fetch()

    def _fetch(self) -> "Mapping[str, jwt.PyJWK]":
        return read_key_set(fetch(self._keys_uri), self._keys_uri, others=True)


def discover(uri: str) -> Mapping[str, Any]:
    """What an issuer tells of itself, from the first of its usual places that has it.

    Raises:
        SettingsError: none has, or it makes no sense.
    """
    parts = urlsplit(uri.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(f"{uri[:80]!r} is no address of an issuer")
    last = ""
    for place in (
        f"{parts.path}/.well-known/openid-configuration",
        f"/.well-known/openid-configuration{parts.path}",
        f"/.well-known/oauth-authorization-server{parts.path}",
    ):
        try:
            found = json.loads(fetch(urlunsplit(parts._replace(path=place, query="", fragment=""))))
        except SwagentError as exc:
            last = exc.message
            continue
        except (ValueError, RecursionError):
            last = f"{place} is no JSON"
            continue
        if isinstance(found, dict):
            return found
    raise SettingsError(
        f"the issuer {uri[:200]} does not tell of itself: {last}", hint="is it up, and the address right?"
    )


def fetch(uri: str) -> bytes:
    """A small document.

    Raises:
        SettingsError: it cannot be had.
    """
    try:
        exchange = HttpExchange(uri, ISSUER_OPTIONS, SystemClock())
        with closing(exchange):
            answer = exchange.ask("GET", uri, max_bytes=_DOCUMENT_BYTES_MAX)
    except SwagentError as exc:
        raise SettingsError(f"{uri[:200]}: {exc.message}", hint=exc.hint) from exc
    if answer.status != 200:
        raise SettingsError(f"{uri[:200]} answers {answer.status}")
    return answer.body


def text_of(found: Mapping[str, Any], key: str, where: str) -> str:
    """A text that must be in a document.

    Raises:
        SettingsError: it is not.
    """
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"the issuer {where[:200]} does not tell its {key}")
    return value
