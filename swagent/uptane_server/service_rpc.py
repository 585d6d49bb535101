"""XML-RPC over HTTP: ``POST /RPC2`` (uptane §5.1)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from swagent.net.rpcserver import RpcMethods

from .service import application, body_of, in_thread

if TYPE_CHECKING:
    from aiohttp import web


def rpc_application(
    methods: RpcMethods, trusts: "Callable[[web.Request], bool]" = lambda request: False
) -> "web.Application":
    """Serves methods.

    Args:
        methods: what can be called.
        trusts: whether a request may call guarded methods; runs in a thread.
    """
    from aiohttp import web

    async def call(request: web.Request) -> web.Response:
        body = await body_of(request)

        def work() -> bytes:
            return methods.answer(body, trusted=trusts(request))

        return web.Response(body=await in_thread(work), content_type="text/xml")

    app = application()
    app.router.add_post("/RPC2", call)
    app.router.add_post("/", call)
    return app
