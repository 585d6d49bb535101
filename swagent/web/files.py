"""The page, and files of a web application that somebody puts in its place."""

import asyncio
import os
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

INDEX = "index.html"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


class Page:
    """Our own page, read once."""

    def __init__(self) -> None:
        folder = resources.files("swagent.web") / "page"
        self._files = {
            entry.name: (entry.read_bytes(), _TYPES[os.path.splitext(entry.name)[1]])
            for entry in folder.iterdir()
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The file that a path names."""
        name = request.path.rpartition("/")[2] or INDEX
        if name not in self._files:
            raise web.HTTPNotFound(text="There is nothing here.\n")
        body, kind = self._files[name]
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"}
        )


class Folder:
    """Files below a folder, and what is linked there: SWUpdate's application comes with links to its libraries.

    Args:
        root: the folder.
        listing: whether a folder without index.html is listed.
    """

    def __init__(self, root: str, *, listing: bool) -> None:
        self._root = Path(root)
        self._listing = listing

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The file that a path names."""
        return await asyncio.to_thread(self._find, request.path)

    def _find(self, asked: str) -> web.StreamResponse:
        nothing = web.HTTPNotFound(text="There is nothing here.\n")
        try:
            steps = [step for step in asked.split("/") if step not in ("", ".")]
            if ".." in steps:
                raise nothing
            path = self._root.joinpath(*steps)
            if path.is_dir():
                if not asked.endswith("/"):
                    raise web.HTTPMovedPermanently(f"{quote(asked.rpartition('/')[2])}/")
                if not (path / INDEX).is_file() and self._listing:
                    return _listing(path)
                path /= INDEX
            if not path.is_file():
                raise nothing
        except (OSError, ValueError) as exc:  # ValueError: a NUL in it
            raise nothing from exc
        return web.FileResponse(path, headers={"Cache-Control": "no-cache"})


def _listing(folder: Path) -> web.Response:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    rows = "".join(f'<li><a href="./{quote(name)}">{escape(name)}</a>' for name in names)
    return web.Response(
        text=f"<!doctype html><title>Files</title><ul>{rows}</ul>\n", content_type="text/html"
    )
