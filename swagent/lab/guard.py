"""What is around each rpc: who asks is judged first, headers go out, and errors become statuses."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from swagent.errors import LabError, SwagentError

from .errors import InvalidRequest
from .wire import Method, Wire

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def handlers(
    service: object,
    wire: Wire,
    name: str,
    admit: Callable[[Method, Any], None],
    log: Callable[[str], None],
    *,
    later_headers: tuple[str, ...] = (),
) -> Any:
    """What a gRPC server serves.

    Args:
        service: has a method ``_list`` for the rpc ``List``, and so on; those that stream replies are generators.
        wire: the messages, and which rpcs there are.
        name: of the service, as it is in paths.
        admit: judges who asks, by the call's context; raises LabError.
        log: hears of what should not have happened.
        later_headers: rpcs that send their headers by themselves.
    """
    import grpc

    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    found = {}
    for method in wire.methods:
        work = getattr(service, f"_{_CAPITAL.sub('_', method.name).lower()}")
        guarded = _guarded(method, work, admit, log, headers=method.name not in later_headers)
        found[method.name] = makers[method.streams_requests, method.streams_replies](
            guarded,
            request_deserializer=_reader(wire.message(method.request)),
            response_serializer=wire.message(method.reply).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(name, found)


def token_of(context: Any) -> str | None:
    """The header that has a caller's token."""
    found = dict(context.invocation_metadata() or ()).get("authorization")
    return found if isinstance(found, str) else None


def _guarded(
    method: Method,
    work: Callable[[Any, Any], Any],
    admit: Callable[[Method, Any], None],
    log: Callable[[str], None],
    *,
    headers: bool,
) -> Callable[[Any, Any], Any]:
    def understood(request: Any) -> Any:
        return _all_understood(request) if method.streams_requests else _understood(request)

    async def unary(request: Any, context: Any) -> Any:
        async with _Statuses(context, method.name, log):
            admit(method, context)
            if method.streams_requests:
                await context.send_initial_metadata(())
            return await work(understood(request), context)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        async with _Statuses(context, method.name, log):
            admit(method, context)
            if headers:
                await context.send_initial_metadata(())
            async with aclosing(work(understood(request), context)) as replies:
                async for reply in replies:
                    yield reply

    return stream if method.streams_replies else unary


class _Statuses:
    """Turns errors into statuses; what nobody foresaw is logged, and the caller sees no more than that it happened."""

    def __init__(self, context: Any, method: str, log: Callable[[str], None]) -> None:
        self._context = context
        self._method = method
        self._log = log

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: object
    ) -> None:
        import grpc

        if exc is None or isinstance(exc, asyncio.CancelledError | GeneratorExit | grpc.RpcError):
            return
        if isinstance(exc, grpc.aio.AbortError):
            return
        if isinstance(exc, SwagentError):
            status = exc.status if isinstance(exc, LabError) else "INTERNAL"
            text = f"{exc.message} ({exc.hint})" if exc.hint else exc.message
            await self._context.abort(getattr(grpc.StatusCode, status), text)
        if isinstance(exc, Exception):
            self._log(f"{self._method}: {type(exc).__name__}: {exc}")
            await self._context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")


def _reader(message: Any) -> Callable[[bytes], Any]:
    """Reads a message; bytes that are none become None, since errors raised here would get no status of ours."""
    from google.protobuf.message import DecodeError

    def read(data: bytes) -> Any:
        try:
            return message.FromString(data)
        except DecodeError:
            return None

    return read


def _understood(request: Any) -> Any:
    if request is None:
        raise InvalidRequest("these bytes are no message of this call")
    return request


async def _all_understood(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _understood(request)
