"""Logging in at an OpenID Connect issuer by its device flow: a code here, a browser anywhere (RFC 8628; boardswarm §5).

Tokens are kept in a file of their own, in the form of Boardswarm's own command line.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import urlencode

from swagent.clock import Clock, SystemClock
from swagent.errors import RegistrationError, SettingsError, SwagentError
from swagent.net.exchange import HttpExchange
from swagent.store.atomic import replace

from .errors import NotAllowed, TookTooLong, Unauthenticated
from .oidc import ISSUER_OPTIONS, discover, text_of

EARLY_S = 30.0
"""A token that ends so soon is refreshed: it must last until the server reads it."""
_INTERVAL_S = 5.0
_INTERVAL_MAX_S = 60.0
_EXPIRES_MAX_S = 3600.0
_ANSWER_BYTES_MAX = 256 * 1024
_TOKEN_CHARS_MAX = 64 * 1024
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Login(NamedTuple):
    """How a server of the list is logged in to.

    Attributes:
        uri: of the issuer.
        client_id: what we are called there.
        cache: path of the file with the tokens.
    """

    uri: str
    client_id: str
    cache: str


class Question(NamedTuple):
    """What a person must do.

    Attributes:
        uri: to open in any browser.
        code: to type there.
        whole_uri: with the code in it, "" when the issuer has none.
        expires_s: how long there is.
    """

    uri: str
    code: str
    whole_uri: str
    expires_s: float


class Tokens(NamedTuple):
    """What the issuer gave; ``refresh`` may be "", ``expires_s`` is since the epoch, None when it did not say."""

    access: str
    refresh: str = ""
    expires_s: float | None = None


class Session:
    """Somebody's login at an issuer, with tokens that are refreshed as they end.

    Args:
        login: where.
        ask: is told what the person must do; None where nobody is there who could.
        clock: for the ends of tokens.
        sleep: between two questions to the issuer.
    """

    def __init__(
        self,
        login: Login,
        ask: Callable[[Question], None] | None,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._login = login
        self._ask = ask
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._tokens: Tokens | None = None

    def token(self) -> str:
        """A token that has not ended: the kept one, a refreshed one, or that of a new login.

        Raises:
            Unauthenticated: nobody is there to log in.
            NotAllowed, TookTooLong: whoever was asked refused, or did nothing.
            SettingsError: the issuer cannot be asked, or the tokens cannot be kept.
        """
        tokens = self._tokens or read_tokens(self._login.cache)
        if tokens is not None and not self._ends(tokens):
            self._tokens = tokens
            return tokens.access
        if tokens is not None and tokens.refresh:
            fresh = self._refreshed(tokens)
            if fresh is not None:
                return fresh.access
        return self.log_in().access

    def log_in(self) -> Tokens:
        """Log in anew. Raises as ``token``."""
        if self._ask is None:
            raise Unauthenticated(
                f"the login at {self._login.uri} has ended",
                hint="log in on a terminal: swagent lab auth login",
            )
        about = discover(self._login.uri)
        begin_uri = text_of(about, "device_authorization_endpoint", self._login.uri)
        token_uri = text_of(about, "token_endpoint", self._login.uri)
        facts = {"client_id": self._login.client_id}
        if scope := _scope(about):
            facts["scope"] = scope
        status, given = self._post(begin_uri, facts)
        if status != 200:
            raise NotAllowed(f"the issuer {self._login.uri} refuses a login: {_why(given, status)}")
        code = text_of(given, "device_code", self._login.uri)
        whole = given.get("verification_uri_complete")
        question = Question(
            text_of(given, "verification_uri", self._login.uri),
            text_of(given, "user_code", self._login.uri),
            whole if isinstance(whole, str) else "",
            _number(given.get("expires_in"), _EXPIRES_MAX_S, _EXPIRES_MAX_S),
        )
        self._ask(question)
        return self._wait(
            token_uri, code, question.expires_s, _number(given.get("interval"), _INTERVAL_S, _INTERVAL_MAX_S)
        )

    def _wait(self, token_uri: str, code: str, expires_s: float, interval_s: float) -> Tokens:
        until_s = self._clock.monotonic_s() + expires_s
        facts = {"grant_type": _DEVICE_GRANT, "device_code": code, "client_id": self._login.client_id}
        while self._clock.monotonic_s() < until_s:
            self._sleep(interval_s)
            try:
                status, given = self._post(token_uri, facts)
            except SettingsError:  # the network may come back: RFC 8628 §3.5 wants more patience then
                interval_s = min(interval_s * 2, _INTERVAL_MAX_S)
                continue
            if status == 200:
                return self._keep(given, "")
            error = given.get("error")
            if error == "slow_down":
                interval_s = min(interval_s + _INTERVAL_S, _INTERVAL_MAX_S)
            elif error == "expired_token":
                break
            elif error != "authorization_pending":
                raise NotAllowed(f"the issuer {self._login.uri} refuses the login: {_why(given, status)}")
        raise TookTooLong("nobody has logged in with this code in time", hint="run it again for a new code")

    def _refreshed(self, tokens: Tokens) -> Tokens | None:
        """New tokens for the old refresh token; None when the issuer does not take it any more."""
        token_uri = text_of(discover(self._login.uri), "token_endpoint", self._login.uri)
        facts = {
            "grant_type": "refresh_token",
            "refresh_token": tokens.refresh,
            "client_id": self._login.client_id,
        }
        status, given = self._post(token_uri, facts)
        if status == 200:
            return self._keep(given, tokens.refresh)
        if status >= 500:
            raise SettingsError(f"the issuer {self._login.uri} answers {status}", hint="try again later")
        return None

    def _keep(self, given: Mapping[str, Any], refresh: str) -> Tokens:
        access, again = given.get("access_token"), given.get("refresh_token", refresh)
        if not _is_token(access) or not (again == "" or _is_token(again)):
            raise SettingsError(f"the issuer {self._login.uri} gave no token that can be used")
        expires_s = None
        if given.get("expires_in") is not None:
            expires_s = self._clock.now_s() + _number(given["expires_in"], 0.0, 10 * 365 * 86400.0)
        tokens = Tokens(access, again, expires_s)
        write_tokens(self._login.cache, tokens)
        self._tokens = tokens
        return tokens

    def _ends(self, tokens: Tokens) -> bool:
        return tokens.expires_s is not None and tokens.expires_s - EARLY_S < self._clock.now_s()

    def _post(self, uri: str, facts: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """Status, and what the answer says, {} when it is no JSON object. Raises SettingsError."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            exchange = HttpExchange(uri, ISSUER_OPTIONS, self._clock)
            with closing(exchange):
                body = urlencode(facts).encode()
                answer = exchange.ask("POST", uri, body=body, headers=headers, max_bytes=_ANSWER_BYTES_MAX)
        except RegistrationError:
            raise
        except SwagentError as exc:
            raise SettingsError(f"{uri[:200]}: {exc.message}", hint=exc.hint) from exc
        try:
            given = json.loads(answer.body)
        except (ValueError, RecursionError):
            given = {}
        return answer.status, given if isinstance(given, dict) else {}


def read_tokens(path: str) -> Tokens | None:
    """The tokens of a file; None when there are none that can be used, as it is only a cache.

    Raises:
        SettingsError: others may read it.
    """
    import os

    from swagent.crypto.keys import read_secret_file

    from .config import plain

    if not os.path.exists(path):
        return None
    data = read_secret_file(path, "file of tokens")
    try:
        given = plain(data[: 4 * _TOKEN_CHARS_MAX], path)
    except SettingsError:
        return None
    if not isinstance(given, dict):
        return None
    access, refresh, expires = given.get("access"), given.get("refresh") or "", given.get("expires")
    if not _is_token(access) or not (refresh == "" or _is_token(refresh)):
        return None
    if expires is not None and (isinstance(expires, bool) or not isinstance(expires, int | float)):
        return None
    return Tokens(access, refresh, expires)


def write_tokens(path: str, tokens: Tokens) -> None:
    """Keep tokens for their owner alone. Raises SettingsError."""
    import yaml

    facts = {
        "refresh": tokens.refresh or None,
        "expires": None if tokens.expires_s is None else int(tokens.expires_s),
        "access": tokens.access,
    }
    try:
        replace(path, yaml.safe_dump(facts, sort_keys=False, width=_TOKEN_CHARS_MAX).encode(), mode=0o600)
    except OSError as exc:
        raise SettingsError(f"cannot write {path}: {exc.strerror}") from exc


def _scope(about: Mapping[str, Any]) -> str:
    """What to ask for: Boardswarm's own client asks for ``read``, which many issuers do not know.

    Not ``offline_access``, which Keycloak refuses, after the person has logged in, to whom it is not granted.
    """
    supported = about.get("scopes_supported")
    if not isinstance(supported, list):
        return "read"
    return next((one for one in ("read", "openid") if one in supported), "")


def _why(given: Mapping[str, Any], status: int) -> str:
    for key in ("error_description", "error"):
        if isinstance(given.get(key), str) and given[key]:
            return str(given[key])[:200]
    return f"it answers {status}"


def _is_token(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str)
        and 0 < len(value) <= _TOKEN_CHARS_MAX
        and value.isascii()
        and value.isprintable()
    )


def _number(value: object, default: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return default
    return min(float(value), most)
