"""The Director's HTTPS door: the fleet page, the JSON interface, and aktualizr's."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from swagent import __version__
from swagent.crypto.digest import same
from swagent.errors import SwagentError

from .director_access import SESSION_S, Session
from .director_aktualizr import AktualizrApi
from .director_api import DirectorApi
from .director_desk import DirectorDesk
from .director_pages import Pages, asset
from .director_routes import status_of
from .service import Log, application, body_of, in_thread
from .service_http import COOKIE, HEADERS, Identity, add_routes

if TYPE_CHECKING:
    from aiohttp import web

FORM_COOKIE = "swagent_director_form"
PAGE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
}
FORM_MAX_BYTES = 16 * 1024


def fleet_application(
    desk: DirectorDesk, identity: Identity, log: Log, *, silent_s: int
) -> "web.Application":
    """All of it on one port.

    Args:
        desk: the Director and its folder.
        identity: tells who asks.
        log: hears of what is refused.
        silent_s: after how long without a manifest a vehicle counts as silent.
    """
    app = application()
    aktualizr = AktualizrApi(desk)
    own = DirectorApi(desk, __version__, silent_s=silent_s)
    add_routes(app, own.routes, identity, log, signed=True)
    add_routes(app, aktualizr.orders, identity, log)
    add_routes(app, aktualizr.routes, identity, log)
    add_routes(app, aktualizr.routes, identity, log, below="/ak/{vin}")
    _Door(desk, Pages(desk, silent_s=silent_s), identity, log).add_to(app)
    return app


class _Door:
    """Lets people in, and carries out what they order."""

    def __init__(self, desk: DirectorDesk, pages: Pages, identity: Identity, log: Log) -> None:
        self._desk = desk
        self._pages = pages
        self._identity = identity
        self._log = log

    def add_to(self, app: "web.Application") -> None:
        add = app.router.add_route
        add("GET", "/", self._shown(lambda who, base, call: self._pages.fleet(who, base, call.query)))
        add("GET", "/vehicles/{vin}", self._shown(
            lambda who, base, call: self._pages.vehicle(who, base, call.match_info["vin"], call.query)
        ))  # fmt: skip
        add("GET", "/vehicles/{vin}/ecus", self._shown(
            lambda who, base, call: self._pages.ecus(call.match_info["vin"])
        ))  # fmt: skip
        add("POST", "/vehicles", self._ordered(self._add))
        for name, order in (("preview", self._preview), ("assign", self._assign), ("seen", self._seen),
                            ("forgive", self._forgive)):  # fmt: skip
            add("POST", f"/vehicles/{{vin}}/{name}", self._ordered(order))
        add("GET", "/login", self._login_page)
        add("POST", "/login", self._login)
        add("POST", "/logout", self._logout)
        add("GET", "/{name:style.css|page.js}", self._asset)

    # -- orders: what they return is a page, or where to go next

    def _add(self, who: Session, vin: str, form: dict[str, str]) -> "str | _Next":
        name = form.get("vin", "")
        with self._desk.director.inventory.look() as fleet:
            try:
                fleet.vehicle(name)
                return _Next(f"/vehicles/{quote(name, safe='')}")  # a page does not reset what is there
            except SwagentError:
                pass
        self._desk.director.add_vehicle(name)
        return _Next(f"/vehicles/{quote(name, safe='')}", "Added.")

    def _preview(self, who: Session, vin: str, form: dict[str, str]) -> "str | _Next":
        return self._pages.preview(who, vin, form.get("serial", ""), _number(form.get("image", "")))

    def _assign(self, who: Session, vin: str, form: dict[str, str]) -> "str | _Next":
        image = self._pages.image(_number(form.get("image", "")))
        serial = form.get("serial", "")
        if image is None:
            self._desk.director.assign(vin, serial, None)
        else:
            self._desk.assign(vin, serial, image, self._desk.find(image))
        self._desk.write([vin])
        self._log("info", f"{who.operator} had the metadata of {vin} signed")
        return _Next(f"/vehicles/{quote(vin, safe='')}", "Signed.")

    def _seen(self, who: Session, vin: str, form: dict[str, str]) -> "str | _Next":
        with self._desk.director.inventory.change() as fleet:
            fleet.vehicle(vin, lock=True)
            fleet.close_alerts(vin)
        return _Next(f"/vehicles/{quote(vin, safe='')}", "The alerts are closed.")

    def _forgive(self, who: Session, vin: str, form: dict[str, str]) -> "str | _Next":
        self._desk.director.forgive(form.get("serial", ""))
        return _Next(f"/vehicles/{quote(vin, safe='')}", "Its next good report will be taken.")

    # -- who may

    def _shown(  # type: ignore[no-untyped-def]  # aiohttp's handlers
        self, page: "Callable[[Session, str, web.Request], str]"
    ):
        async def handle(request: "web.Request") -> "web.Response":
            def work() -> "str | _Next | SwagentError":
                who = self._identity.session(request)
                if who is None:
                    return _Next("/login")
                try:
                    return page(who, f"{request.scheme}://{request.host}", request)
                except SwagentError as exc:
                    return exc

            return await self._answer(await in_thread(work), request)

        return handle

    def _ordered(  # type: ignore[no-untyped-def]  # aiohttp's handlers
        self, order: "Callable[[Session, str, dict[str, str]], str | _Next]"
    ):
        async def handle(request: "web.Request") -> "web.Response":
            form = await _form(request)

            def work() -> "str | _Next | SwagentError":
                who = self._identity.session(request)
                if who is None:
                    return _Next("/login")
                if not same(form.get("form_key", "").encode(), who.form_key.encode()):
                    return _Forged("this form is not of this page: load it again")
                try:
                    return order(who, request.match_info.get("vin", ""), form)
                except SwagentError as exc:
                    return exc

            return await self._answer(await in_thread(work), request)

        return handle

    async def _answer(self, found: "str | _Next | SwagentError", request: "web.Request") -> "web.Response":
        from aiohttp import web

        if isinstance(found, _Next):
            query = f"?{urlencode({'said': found.said})}" if found.said else ""
            return web.Response(status=303, headers={**PAGE_HEADERS, "Location": found.place + query})
        if isinstance(found, SwagentError):
            self._log("warn", f"{request.method} {request.path[:200]}: {found.message}")
            status = 403 if isinstance(found, _Forged) else status_of(found)
            text = found.message if status != 503 else "the inventory cannot be used now"
            session = await in_thread(self._identity.session, request) if status != 503 else None
            return _page(self._pages.refusal(session, text), status)
        return _page(found)

    # -- coming and going

    async def _login_page(self, request: "web.Request") -> "web.Response":
        return self._with_form_key(request, "")

    def _with_form_key(self, request: "web.Request", wrong: str, status: int = 200) -> "web.Response":
        key = secrets.token_urlsafe(32)
        page = _page(self._pages.login(key, wrong), status)
        page.set_cookie(
            FORM_COOKIE, key, httponly=True, samesite="Strict", secure=request.secure, path="/login"
        )
        return page

    async def _login(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        form = await _form(request)
        cookie = request.cookies.get(FORM_COOKIE, "")
        if not cookie or not same(cookie.encode(), form.get("form_key", "").encode()):
            return self._with_form_key(request, "This form was too old. Try again.", 403)
        session = await in_thread(
            self._identity.access.log_in, form.get("name", ""), form.get("password", "")
        )
        if session is None:
            self._log("warn", "a login failed")
            return self._with_form_key(request, "Name or password are wrong.", 403)
        page = web.Response(status=303, headers={**PAGE_HEADERS, "Location": "/"})
        page.set_cookie(
            COOKIE, session.key, max_age=SESSION_S, httponly=True, samesite="Strict", secure=request.secure
        )
        return page

    async def _logout(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        form = await _form(request)
        session = await in_thread(self._identity.session, request)
        if session is not None and same(form.get("form_key", "").encode(), session.form_key.encode()):
            await in_thread(self._identity.access.log_out, session)
        page = web.Response(status=303, headers={**PAGE_HEADERS, "Location": "/login"})
        page.del_cookie(COOKIE)
        return page

    async def _asset(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        found = asset(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found[0], content_type=found[1], headers=PAGE_HEADERS)


class _Next:
    """Where to go after an order, and what to say there."""

    def __init__(self, place: str, said: str = "") -> None:
        self.place = place
        self.said = said


class _Forged(SwagentError):
    """A form that another site sent."""


async def _form(request: "web.Request") -> dict[str, str]:
    from aiohttp import web

    body = await body_of(request)
    if len(body) > FORM_MAX_BYTES or request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPBadRequest
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=16, strict_parsing=bool(body)))
    except ValueError:
        raise web.HTTPBadRequest from None


def _page(text: str, status: int = 200) -> "web.Response":
    from aiohttp import web

    return web.Response(text=text, status=status, content_type="text/html", headers=PAGE_HEADERS)


def _number(text: str) -> int:
    """The number of an image; 0, which means none, has to be said."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        from swagent.errors import SettingsError

        raise SettingsError(f"{text[:20]!r} is no image")
    return int(text)
