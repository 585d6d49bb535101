"""Tables of routes over HTTP, and who asks: a vehicle by its certificate, an operator by token, password or session."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .director_access import Access, Session
from .director_routes import ANYBODY, OPERATOR, Call, Reply, Route, answer, failure
from .service import Log, body_of, in_thread

if TYPE_CHECKING:
    from aiohttp import web

PORT = 30443
COOKIE = "swagent_director"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Identity:
    """Tells who asks.

    Args:
        access: knows operators.
        certified: whether vehicles must show a certificate whose common name is their VIN.
    """

    def __init__(self, access: Access, *, certified: bool) -> None:
        self.access = access
        self.certified = certified

    def operator(self, request: "web.Request") -> str:
        """Whom the ``Authorization`` header names, "" for nobody; runs in a thread."""
        return self.access.of_header(request.headers.get("Authorization", ""))

    def session(self, request: "web.Request") -> Session | None:
        """Who is logged in on the page; runs in a thread."""
        return self.access.session(request.cookies.get(COOKIE, ""))

    def certificate(self, request: "web.Request") -> str:
        """The common name of the client's certificate, "" for none."""
        tls = request.transport.get_extra_info("peercert") if request.transport is not None else None
        for part in (tls or {}).get("subject", ()):
            for name, value in part:
                if name == "commonName":
                    return str(value)
        return ""


def add_routes(
    app: "web.Application",
    routes: tuple[Route, ...],
    identity: Identity,
    log: Log,
    *,
    below: str = "",
    signed: bool = False,
) -> None:
    """Serve these.

    Args:
        app: where.
        routes: what.
        identity: tells who asks.
        log: hears of what is refused.
        below: what their paths begin with; may hold ``{vin}``.
        signed: whether a vehicle without a certificate is believed where none is asked for, since what it says is
            signed, or is said once; else only in a testbed.
    """
    for route in routes:
        app.router.add_route(
            route.method, below + _regular(route.path), _handler(route, identity, log, signed=signed)
        )


def _regular(path: str) -> str:
    return path.replace("{serial}", "{serial:[^/]+}")


def _handler(  # type: ignore[no-untyped-def]  # aiohttp's handlers
    route: Route, identity: Identity, log: Log, *, signed: bool
):
    async def handle(request: "web.Request") -> "web.Response":
        body = await body_of(request) if request.can_read_body else b""
        certificate = identity.certificate(request)

        def work() -> Reply:
            vin = ""
            if route.who == OPERATOR:
                if not identity.operator(request):
                    return failure(
                        401, "Unauthorized", "this is for operators", "see `swagent director operator`"
                    )
            elif route.who != ANYBODY:
                vin = request.match_info.get("vin", certificate)
                believed = signed and not identity.certified
                if not vin or (certificate != vin and not believed and not identity.access.everybody):
                    return failure(
                        401, "Unauthorized", "this is for the vehicle, which its certificate names"
                    )
            return answer(route, Call(request.match_info, request.query, body, vin), log)

        return response(await in_thread(work))

    return handle


def response(reply: Reply, headers: Mapping[str, str] = HEADERS) -> "web.Response":
    """A reply on the wire."""
    import json

    from aiohttp import web

    more = {"WWW-Authenticate": 'Basic realm="Director"'} if reply.status == 401 else {}
    if reply.status == 204:
        return web.Response(status=204, headers=headers)
    raw = reply.raw if reply.raw is not None else json.dumps(reply.value).encode()
    return web.Response(
        body=raw, status=reply.status, content_type="application/json", headers={**headers, **more}
    )
