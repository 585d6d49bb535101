"""Repositories over HTTP: a folder of static files, or vehicles' metadata as the Director signs it on request."""

import os
import re
from typing import TYPE_CHECKING

from swagent.errors import SwagentError
from swagent.uptane.errors import UnknownVehicle
from swagent.uptane.metadata import TOP_LEVEL

from .director import Director
from .service import Log, application, in_thread

if TYPE_CHECKING:
    from aiohttp import web

DIRECTOR_PORT, IMAGE_PORT = 30401, 30301
_NAME = re.compile(r"(?:([1-9][0-9]{0,8})\.)?([a-z]{1,16})\.([a-z]{3,4})\Z", re.ASCII)


def static_files(folder: str) -> "web.Application":
    """Everything below a folder, names that begin with a dot excepted; links are followed within it only."""
    from aiohttp import web

    async def get(request: web.Request) -> web.StreamResponse:
        found = below(folder, request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound
        return web.FileResponse(found)

    app = application()
    app.router.add_get("/{path:.*}", get)
    return app


def below(folder: str, path: str) -> str | None:
    """The file of that name below a folder, None when there is none or the name leads elsewhere."""
    parts = path.split("/")
    if "\0" in path or any(part.startswith(".") or not part for part in parts):
        return None
    top = os.path.realpath(folder)
    found = os.path.realpath(os.path.join(top, *parts))
    return found if os.path.commonpath([top, found]) == top and os.path.isfile(found) else None


def director_files(director: Director, folder: str, log: Log) -> "web.Application":
    """``/<vin>/metadata/<name>`` from the Director, ``/<vin>/targets/<image>`` from its folder."""
    from aiohttp import web

    async def metadata(request: web.Request) -> web.Response:
        vin, name = request.match_info["vin"], request.match_info["name"]
        try:
            raw = await in_thread(named_file, director, vin, name)
        except SwagentError as exc:
            log("error", f"the metadata of {vin[:60]} cannot be had: {exc.message}")
            raise web.HTTPServiceUnavailable from None
        if raw is None:
            raise web.HTTPNotFound
        return web.Response(body=raw, content_type="application/octet-stream")

    async def image(request: web.Request) -> web.StreamResponse:
        vin, path = request.match_info["vin"], request.match_info["path"]
        found = below(folder, f"{vin}/targets/{path}")
        if found is None:
            raise web.HTTPNotFound
        return web.FileResponse(found)

    app = application()
    app.router.add_get("/{vin}/metadata/{name}", metadata)
    app.router.add_get("/{vin}/targets/{path:.*}", image)
    return app


def named_file(director: Director, vin: str, name: str) -> bytes | None:
    """A metadata file by its plain or versioned name, None when there is none.

    Raises:
        SwagentError: whether there is one cannot be told.
    """
    match = _NAME.match(name)
    if match is None or match[2] not in TOP_LEVEL or match[3] != director.codec.extension:
        return None
    try:
        found = director.file(vin, match[2], int(match[1]) if match[1] else None)
    except UnknownVehicle:
        return None
    return found.raw if found is not None else None
