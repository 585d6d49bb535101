"""What every request passes: is it meant for us, may it come from there, and who asks."""

import asyncio
import ipaddress
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from urllib.parse import urlsplit

from aiohttp import web

from .auth import COOKIE, Digest, Sessions, Tokens, Verdict, read_passwords, read_tokens
from .options import WebOptions

FAILURE_WAIT_S = 0.3
"""Between two answers to wrong passwords, whoever tries them."""
FAILURES_MAX = 16
_SAFE = frozenset(("GET", "HEAD"))
_HEADERS = {
    "Server": "swagent",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_LOGIN_STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:22rem;margin:12vh auto;"
    "padding:0 1rem}input,button{font:inherit;min-height:44px;width:100%;box-sizing:border-box;border-radius:10px;"
    "padding:.5rem 1rem;border:1px solid #56625d}button{background:#0b6e5f;color:#fff;border:0;font-weight:600}"
)
_LOGIN_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title><style>{_LOGIN_STYLE}</style></head><body><main><h1>Log in</h1>
<form method="post" action="login"><p><label for="token">Token of this device</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" required autofocus></p>
<p><button>Log in</button></p></form></main></body></html>
"""
_LOGIN_HASH = b64encode(sha256(_LOGIN_STYLE.encode()).digest()).decode()
_OUR_PAGE = (
    f"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{_LOGIN_HASH}'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_THEIR_PAGE = (  # SWUpdate's application has styles in its markup
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)


class Guard:
    """Asks for a login, and keeps other sites away.

    Args:
        options: how to serve.
        now: seconds that only grow.

    Raises:
        SettingsError: passwords or tokens cannot be read.
    """

    def __init__(self, options: WebOptions, now: Callable[[], float]) -> None:
        self._options = options
        self._digest = (
            Digest(options.realm, read_passwords(options.passwords, options.realm), now)
            if options.passwords
            else None
        )
        self._tokens = Tokens(read_tokens(options.tokens)) if options.tokens else None
        self._sessions = Sessions(now)
        self._failing = 0
        self._failure = asyncio.Lock()
        own = socket.gethostname().lower()
        self._names = frozenset(("localhost", own, f"{own}.local", *options.names))
        self._policy = _THEIR_PAGE if options.root else _OUR_PAGE

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let a request through, or say why not."""
        host = request.headers.get("Host", "")
        if not host_is_ours(host, self._names):
            raise web.HTTPMisdirectedRequest(
                text="This server is not called so: use its address, or name it in host-names.\n"
            )
        if request.path.endswith("/login") and request.method == "POST":
            self._refuse_strangers(request, host)
            return await self._log_in(request)
        stale = await self._refusal(request)
        if stale is not None:
            return self._challenge(request, stale=stale)
        self._refuse_strangers(request, host)
        return await handler(request)

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Headers that every answer has."""
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._policy
        response.headers.setdefault("Cache-Control", "no-store")

    def welcome(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give a browser that has logged in a session: not every one repeats a login for a WebSocket."""
        if self._options.anonymous or self._sessions.check(request.cookies.get(COOKIE, "")):
            return
        response.set_cookie(
            COOKIE, self._sessions.begin(), httponly=True, samesite="Strict", secure=request.secure, path="/"
        )

    def _refuse_strangers(self, request: web.Request, host: str) -> None:
        """Pages of other sites may neither command us nor listen."""
        is_socket = "Sec-WebSocket-Key" in request.headers
        if request.method in _SAFE and not is_socket:
            return
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if (origin is not None and not same_origin(origin, host)) or site not in ("none", "same-origin"):
            raise web.HTTPForbidden(text="A page of another site may not do this.\n")

    async def _refusal(self, request: web.Request) -> bool | None:
        """None for those who may come in, else whether they are only to try again."""
        if self._options.anonymous or (self._options.client_ca and _has_certificate(request)):
            return None
        given = request.headers.get("Authorization", "")
        if not given:
            return None if self._sessions.check(request.cookies.get(COOKIE, "")) else False
        scheme, _, words = given.partition(" ")
        verdict = Verdict.WRONG
        if scheme.lower() == "digest" and self._digest is not None:
            verdict = self._digest.check(request.method, request.raw_path, words)
        elif scheme.lower() == "bearer" and self._tokens is not None and self._tokens.check(words.strip()):
            verdict = Verdict.GOOD
        if verdict is Verdict.WRONG:
            await self._slow_down()
        return None if verdict is Verdict.GOOD else verdict is Verdict.STALE

    async def _slow_down(self) -> None:
        if self._failing >= FAILURES_MAX:
            raise web.HTTPTooManyRequests(text="Too many wrong logins: wait a moment.\n")
        self._failing += 1
        try:
            async with self._failure:
                await asyncio.sleep(FAILURE_WAIT_S)
        finally:
            self._failing -= 1

    def _challenge(self, request: web.Request, *, stale: bool) -> web.Response:
        response = web.Response(status=401)
        if self._digest is not None:
            response.headers.add("WWW-Authenticate", self._digest.challenge(stale=stale))
        elif self._tokens is not None:
            response.headers.add("WWW-Authenticate", "Bearer")
            if "text/html" in request.headers.get("Accept", ""):
                response.content_type, response.charset = "text/html", "utf-8"
                response.text = _LOGIN_PAGE
        return response

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        token = form.get("token")
        if self._tokens is None or not isinstance(token, str) or not self._tokens.check(token.strip()):
            await self._slow_down()
            return self._challenge(request, stale=False)
        response = web.Response(status=303, headers={"Location": "./"})
        self.welcome(request, response)
        return response


def host_is_ours(host: str, names: frozenset[str]) -> bool:
    """Whether a ``Host`` is an address, or a name of ours: other names that lead here are a trap (DNS rebinding)."""
    name = host_name(host)
    if name is None:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def host_name(host: str) -> str | None:
    """The name in ``name:port``, None if that makes no sense."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.netloc != host or "@" in host:
        return None
    return parts.hostname


def same_origin(origin: str, host: str) -> bool:
    """Whether a page's ``Origin`` is the host that it asks. The scheme may differ: TLS may end before us."""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = {"https": 443, "http": 80}.get(theirs.scheme)
        their_port, our_port = theirs.port or default, ours.port or default
    except ValueError:
        return False
    return bool(theirs.hostname) and (theirs.hostname, their_port) == (ours.hostname, our_port)


def _has_certificate(request: web.Request) -> bool:
    """Whether the client showed one; TLS has verified it."""
    transport = request.transport
    return transport is not None and bool(transport.get_extra_info("peercert"))
