"""The control socket: SWUpdate's protocol, one request a connection, each connection by itself (runtime interfaces §2).

A peer that is silent, slow or sends its request in pieces keeps nobody waiting, and is cut when its time is over.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

from swagent.errors import Busy, SwagentError
from swagent.ipc.control import BUSY_TEXT
from swagent.ipc.messages import (
    API_VERSION,
    MAGIC,
    MESSAGE_BYTES,
    AesKeyText,
    Command,
    DeltaUrl,
    Message,
    Notification,
    Request,
    Revisions,
    StatusReply,
    Type,
    Variable,
    VersionsRange,
    pack_ours,
    pack_state,
    text_body,
    unpack,
    unpack_ours,
    unpack_state,
)

from .listeners import Fanout, Listener, accept, drop_what_comes
from .orders import Order, read_order

REQUEST_S = 30.0
REPLY_S = 10.0
CONNECTIONS_MAX = 512
WRONG_MAGIC_TEXT = "Wrong request: aborting"
POST_UPDATE_TEXT = "Post-update actions successfully executed."
POST_UPDATE_FAILED_TEXT = "Post-update actions failed."


class Peer(NamedTuple):
    """Who is at the other end, as the kernel says; -1 for what it does not tell."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"process {self.pid} of user {self.uid}"


Install = Callable[[socket.socket], Awaitable[None]]
"""Installs what comes over a connection; returns when that is over, whatever became of it."""


class Desk(Protocol):
    """Who answers. Each method may raise SwagentError, which is a NACK with its message."""

    def status(self) -> StatusReply:
        """The answer to GET_STATUS; takes a line away."""
        ...

    def standing(self) -> StatusReply:
        """The same without a line."""
        ...

    def lines(self) -> list[Notification]:
        """The lines of the log that are kept."""
        ...

    def admit(self, request: Request, peer: Peer, order: Order | None = None) -> "Install":
        """Let an update in: from now on there is no other.

        Args:
            request: what SWUpdate's clients ask for.
            peer: who asks.
            order: what our own ask for beyond.

        Raises:
            Busy: there is one.
        """
        ...

    async def inspect(self, order: Order, connection: socket.socket) -> Mapping[str, object]:
        """What the update that begins to come over the connection would do."""
        ...

    async def obey(self, order: Order) -> Mapping[str, object]:
        """Do what needs no more than its answer."""
        ...

    async def post_update(self, text: str) -> None:
        """Run the post-update command."""
        ...

    async def command(self, command: Command) -> Message:
        """Have a child do something; returns its answer."""
        ...

    async def set_aes_key(self, key: AesKeyText) -> None:
        """For images from now on."""
        ...

    async def update_state(self) -> str:
        """The digit of ``ustate``."""
        ...

    async def set_update_state(self, state: str) -> None:
        """Store it."""
        ...

    async def set_versions_range(self, bounds: VersionsRange) -> None:
        """For updates from now on."""
        ...

    async def hardware(self) -> Revisions:
        """Board and revision."""
        ...

    async def variable(self, wanted: Variable) -> Variable:
        """A variable with its value."""
        ...

    async def set_variable(self, wanted: Variable) -> None:
        """Store or remove it."""
        ...

    async def set_delta_url(self, url: DeltaUrl) -> None:
        """For the next update."""
        ...


class ControlServer:
    """Answers at control sockets.

    Args:
        desk: does what is asked for.
        log: hears of what goes wrong: level and line.
        request_s: how long a peer may take to send its request.
    """

    def __init__(self, desk: Desk, log: Callable[[str, str], None], *, request_s: float = REQUEST_S) -> None:
        self._desk = desk
        self._log = log
        self._request_s = request_s
        self._followers = Fanout()
        self._tasks: set[asyncio.Task[None]] = set()
        self._simple: dict[int, Callable[[Message], Awaitable[Message]]] = {
            Type.GET_STATUS: self._status,
            Type.POST_UPDATE: self._post_update,
            Type.SWUPDATE_SUBPROCESS: self._command,
            Type.SET_AES_KEY: self._set_aes_key,
            Type.SET_UPDATE_STATE: self._set_update_state,
            Type.GET_UPDATE_STATE: self._update_state,
            Type.SET_VERSIONS_RANGE: self._set_versions_range,
            Type.GET_HW_REVISION: self._hardware,
            Type.SET_SWUPDATE_VARS: self._set_variable,
            Type.GET_SWUPDATE_VARS: self._variable,
            Type.SET_DELTA_URL: self._set_delta_url,
        }

    async def serve(self, server: socket.socket) -> None:
        """Take connections, until cancelled; those under way are ended too, updates apart."""
        try:
            while True:
                sock = await accept(server)
                if len(self._tasks) >= CONNECTIONS_MAX:
                    sock.close()
                    continue
                task = asyncio.create_task(self._serve_one(sock))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in list(self._tasks):
                task.cancel()

    def tell(self, line: Notification) -> None:
        """A line of the log, for those who follow it."""
        if len(self._followers):
            self._followers.tell(Message(Type.NOTIFY_STREAM, line.pack()).pack())

    # -- one connection

    async def _serve_one(self, sock: socket.socket) -> None:
        kept = False
        try:
            peer = _peer(sock)
            async with asyncio.timeout(self._request_s):
                data = await _receive(sock, MESSAGE_BYTES)
            if len(data) == MESSAGE_BYTES:
                kept = await self._answer(sock, unpack(data), peer)
        except (OSError, TimeoutError) as exc:
            self._log("debug", f"a control connection ended: {exc or 'it took too long'}")
        finally:
            if not kept:
                sock.close()

    async def _answer(self, sock: socket.socket, message: Message, peer: Peer) -> bool:
        """Whether somebody else closes the connection."""
        if message.magic != MAGIC:
            await _send(sock, message._replace(type=Type.NACK, body=text_body(WRONG_MAGIC_TEXT)))
        elif message.type == Type.REQ_INSTALL:
            await self._install(sock, message, peer)
        elif message.type == Type.SWAGENT:
            await self._obey(sock, message, peer)
        elif message.type == Type.NOTIFY_STREAM:
            await _send(sock, Message(Type.ACK, self._desk.standing().pack()))
            follower = Listener(sock, watch=True)
            for line in self._desk.lines():
                follower.offer(Message(Type.NOTIFY_STREAM, line.pack()).pack())
            self._followers.add(follower)
            return True
        else:
            await _send(sock, await self._simple_answer(message))
        return False

    async def _simple_answer(self, message: Message) -> Message:
        handler = self._simple.get(message.type)
        if handler is None:
            return message._replace(type=Type.NACK)
        try:
            return await handler(message)
        except SwagentError as exc:
            self._log("debug", f"a control message was refused: {exc.message}")
            return Message(Type.NACK, text_body(exc.message))

    async def _install(self, sock: socket.socket, message: Message, peer: Peer) -> None:
        request = Request.unpack(message.body)
        try:
            if request.api_version != API_VERSION:
                await _send(sock, Message(Type.NACK))
                return
            install = self._desk.admit(request, peer)
        except Busy:
            await _send(sock, Message(Type.NACK, text_body(BUSY_TEXT)))
            return
        except SwagentError as exc:
            self._log("warn", f"an update of {peer} was refused: {exc.message}")
            await _send(sock, Message(Type.NACK, text_body(exc.message)))
            return
        with suppress(OSError, TimeoutError):  # it has gone: then no byte comes, which ends what was let in
            await _send(sock, message._replace(type=Type.ACK))
        await install(sock)

    # -- our own

    async def _obey(self, sock: socket.socket, message: Message, peer: Peer) -> None:
        try:
            order = read_order(unpack_ours(message.body))
            if order.do == "install":
                install = self._desk.admit(order.request(), peer, order)
                with suppress(OSError, TimeoutError):
                    await _send(sock, Message(Type.ACK, pack_ours(b"{}")))
                await install(sock)
                return
            answer = None if order.do == "inspect" else await self._desk.obey(order)
        except SwagentError as exc:
            text = json.dumps(_error(exc), ensure_ascii=False).encode(errors="replace")
            await _send(sock, Message(Type.NACK, pack_ours(text)))
            return
        await _send(sock, Message(Type.ACK, pack_ours(b"{}")))
        if answer is None:
            try:
                answer = await self._desk.inspect(order, sock)
            except SwagentError as exc:
                answer = _error(exc)
        async with asyncio.timeout(REPLY_S):
            await asyncio.get_running_loop().sock_sendall(sock, json.dumps(answer).encode() + b"\n")
        drop_what_comes(sock)

    # -- messages with one answer

    async def _status(self, message: Message) -> Message:
        return Message(Type.ACK, self._desk.status().pack())

    async def _post_update(self, message: Message) -> Message:
        command = Command.unpack(message.body)
        text = command.data.decode(errors="replace") if command.length_bytes else ""
        try:
            await self._desk.post_update(text)
        except SwagentError as exc:
            self._log("error", exc.message)
            return Message(Type.NACK, text_body(POST_UPDATE_FAILED_TEXT))
        return Message(Type.ACK, text_body(POST_UPDATE_TEXT))

    async def _command(self, message: Message) -> Message:
        try:
            return await self._desk.command(Command.unpack(message.body))
        except SwagentError as exc:  # clients print what they sent
            self._log("debug", f"a child was told something in vain: {exc.message}")
            return message._replace(type=Type.NACK)

    async def _set_aes_key(self, message: Message) -> Message:
        await self._desk.set_aes_key(AesKeyText.unpack(message.body))
        return Message(Type.ACK)  # without the key

    async def _set_update_state(self, message: Message) -> Message:
        state = unpack_state(message.body)
        if state is None:
            return message._replace(type=Type.NACK)
        await self._desk.set_update_state(state)
        return message._replace(type=Type.ACK)

    async def _update_state(self, message: Message) -> Message:
        return Message(Type.ACK, pack_state(await self._desk.update_state()))

    async def _set_versions_range(self, message: Message) -> Message:
        await self._desk.set_versions_range(VersionsRange.unpack(message.body))
        return message._replace(type=Type.ACK)

    async def _hardware(self, message: Message) -> Message:
        return Message(Type.ACK, (await self._desk.hardware()).pack())

    async def _set_variable(self, message: Message) -> Message:
        await self._desk.set_variable(Variable.unpack(message.body))
        return message._replace(type=Type.ACK)

    async def _variable(self, message: Message) -> Message:
        return Message(Type.ACK, (await self._desk.variable(Variable.unpack(message.body))).pack())

    async def _set_delta_url(self, message: Message) -> Message:
        await self._desk.set_delta_url(DeltaUrl.unpack(message.body))
        return message._replace(type=Type.ACK)


def _error(exc: SwagentError) -> dict[str, object]:
    error = {"class": type(exc).__name__, "message": exc.message[:300], "hint": exc.hint[:300]}
    return {"error": error, "exit_code": exc.exit_code}


def _peer(sock: socket.socket) -> Peer:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return Peer(-1, -1)
    pid, uid, _ = struct.unpack("3i", raw)
    return Peer(pid, uid)


async def _receive(sock: socket.socket, n_bytes: int) -> bytes:
    """So many bytes, none more; fewer at the end."""
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(n_bytes))
    done = 0
    while done < n_bytes:
        n = await loop.sock_recv_into(sock, buffer[done:])
        if n == 0:
            break
        done += n
    return bytes(buffer[:done])


async def _send(sock: socket.socket, message: Message) -> None:
    async with asyncio.timeout(REPLY_S):
        await asyncio.get_running_loop().sock_sendall(sock, message.pack())
