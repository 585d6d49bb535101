"""A program behind a handler ``remote``, written from docs/reference/remote-protocol.md with pyzmq alone.

It shares no code with ``swagent.remote``. A test says how it answers each request.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import zmq

Answer = list[bytes] | None
"""Frames to answer with; None to say nothing and go."""


@dataclass
class Peer:
    """What came, and how it is answered.

    Attributes:
        requests: every request, as frames.
        answers: called with the number of a request, counted from 0, and its frames.
    """

    path: str
    answers: Callable[[int, list[bytes]], Answer] = lambda number, frames: [b"ACK"]
    requests: list[list[bytes]] = field(default_factory=list)

    @property
    def announced(self) -> int:
        return int(self.requests[0][0].removeprefix(b"INIT:"))

    @property
    def artifact(self) -> bytes:
        """What came as data, if all of it keeps to the protocol."""
        head, *rest = self.requests
        assert len(head) == 2 and head[0].startswith(b"INIT:") and head[1] == b""
        assert all(len(frames) == 2 and frames[0] == b"DATA" for frames in rest)
        assert all(len(frames[1]) == 16384 for frames in rest[:-1])
        assert all(0 < len(frames[1]) <= 16384 for frames in rest[-1:])
        return b"".join(frames[1] for frames in rest)


@contextmanager
def listening(path: str, answers: Callable[[int, list[bytes]], Answer] | None = None) -> Iterator[Peer]:
    """A peer in a thread of its own, until the block ends."""
    peer = Peer(path, answers) if answers else Peer(path)
    ended, ready = threading.Event(), threading.Event()

    def serve() -> None:
        with zmq.Context() as context, context.socket(zmq.REP) as sock:
            sock.linger = 0
            sock.bind(f"ipc://{path}")
            ready.set()
            while not ended.is_set():
                if not sock.poll(10):
                    continue
                frames = sock.recv_multipart()
                number = len(peer.requests)
                peer.requests.append(frames)
                answer = peer.answers(number, frames)
                if answer is None:
                    return
                sock.send_multipart(answer)
            time.sleep(0.01)  # the last answer is on its way

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(5)
        yield peer
    finally:
        ended.set()
        thread.join()


def main(path: str, *answers: str) -> None:
    """In a process of its own: answers one image like this, tells what it got when its standard input ends."""
    with listening(path, lambda number, _: [answers[number].encode()]) as peer:
        print("listening", flush=True)
        sys.stdin.read()
    taken = [answer == "ACK" for answer, _ in zip(answers, peer.requests, strict=False)]
    got = sum(len(frames[1]) for frames, took in zip(peer.requests, taken, strict=True) if took)
    complete = all(taken) and bool(peer.requests) and got == peer.announced
    print("complete" if complete else "partial", got)


if __name__ == "__main__":
    main(*sys.argv[1:])
