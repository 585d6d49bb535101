"""Listeners: every message with one call, nobody waited for."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from swagent.sockets.listeners import QUEUE_MAX, Fanout, Listener
from swagent.sockets.listening import make

SIZE = 2408


def message(number: int) -> bytes:
    return number.to_bytes(4, "little").ljust(SIZE, b"\0")


def in_loop(test: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await test()

    return asyncio.run(limited())


def test_a_slow_listener_is_dropped_and_the_others_hear_everything(tmp_path: Path) -> None:
    total = 4 * QUEUE_MAX
    path = str(tmp_path / "socket")

    async def read(reader: asyncio.StreamReader) -> list[int]:
        assert await reader.readexactly(3) == b"hi!"
        return [int.from_bytes((await reader.readexactly(SIZE))[:4], "little") for _ in range(total)]

    async def test() -> None:
        listening = make(path, mode=0o600)
        fanout = Fanout(lambda: (b"hi!",))
        serving = asyncio.create_task(fanout.serve(listening.sock))
        reader, writer = await asyncio.open_unix_connection(path)
        with socket.socket(socket.AF_UNIX) as slow:
            slow.connect(path)
            while len(fanout) < 2:
                await asyncio.sleep(0.01)
            reading = asyncio.create_task(read(reader))
            for number in range(total):
                fanout.tell(message(number))
                await asyncio.sleep(0)
            assert await reading == list(range(total))
            assert len(fanout) == 1
            slow.settimeout(10)
            got = b""
            while piece := slow.recv(1 << 20):
                got += piece
            assert got[3 : 3 + SIZE] == message(0), "what it got was whole and in order"
        writer.close()
        while len(fanout):
            await asyncio.sleep(0.01)
        serving.cancel()
        listening.close()

    in_loop(test)
    assert not Path(path).exists()


def test_newer_progress_takes_the_place_of_older() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        listener = Listener(ours, watch=True)
        sent = 0
        while not listener._queue:
            listener.offer(message(sent))
            sent += 1
        for number in range(10 * QUEUE_MAX):
            listener.offer(message(1000 + number), replaces="progress")
        listener.offer(message(9))
        assert not listener.closed.done()
        got = b""
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        while len(got) < (sent + 2) * SIZE:
            got += await loop.sock_recv(theirs, 1 << 20)
        numbers = [int.from_bytes(got[at : at + 4], "little") for at in range(0, len(got), SIZE)]
        assert numbers == [*range(sent), 1000 + 10 * QUEUE_MAX - 1, 9]
        theirs.close()
        assert await listener.closed == "it hung up"

    in_loop(test)


def test_what_listeners_say_is_dropped() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        listener = Listener(ours, watch=True)
        theirs.send(b"chatter")
        listener.offer(b"news")
        await asyncio.sleep(0.1)
        assert theirs.recv(100) == b"news"
        assert not listener.closed.done()
        theirs.close()
        await listener.closed

    in_loop(test)
