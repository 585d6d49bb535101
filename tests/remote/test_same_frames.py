"""The same frames from SWUpdate and from swagent, as the same program sees them.

Debian's swupdate has no handler ``remote``: name one that has it, and takes unsigned images, in SWUPDATE_WITH_REMOTE.
"""

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import cpio, run, run_swagent

from .peer import Answer, Peer, listening

pytest.importorskip("zmq")

PROGRAM = os.environ.get("SWUPDATE_WITH_REMOTE", "")
CONTENT = bytes(range(256)) * 300
Answers = Callable[[int, list[bytes]], Answer]


def update(folder: Path, content: bytes, more: str) -> Path:
    (folder / "fw.bin").write_bytes(content)
    (folder / "sw-description").write_text(
        'software = { version = "1.0"; hardware-compatibility: [ "1.0" ]; images: ( { filename = "fw.bin"; '
        f'type = "remote"; data = "peer"; sha256 = "{hashlib.sha256(content).hexdigest()}"; {more} }} ); }};\n'
    )
    image = folder / "update.swu"
    image.write_bytes(cpio(folder, ("sw-description", "fw.bin")))
    return image


@pytest.mark.skipif(not PROGRAM, reason="needs a swupdate with the handler remote in SWUPDATE_WITH_REMOTE")
@pytest.mark.parametrize(
    ("content", "more", "answers"),
    [
        pytest.param(CONTENT, "", lambda *_: [b"ACK"], id="staged"),
        pytest.param(CONTENT, "installed-directly = true;", lambda *_: [b"ACK"], id="streamed"),
        pytest.param(CONTENT[:32768], "installed-directly = true;", lambda *_: [b"ACK:500"], id="whole chunks"),
        pytest.param(gzip.compress(CONTENT, mtime=0), 'compressed = "zlib";', lambda *_: [b"ACK"], id="compressed"),
        pytest.param(CONTENT, "", lambda n, _: [b"NACK" if n == 2 else b"ACK"], id="refused"),
    ],
)  # fmt: skip
def test_what_a_program_sees(
    content: bytes, more: str, answers: Answers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("f")
    image = update(folder, content, more)
    seen: list[tuple[bool, Peer]] = []
    for ours in (False, True):
        tmp = folder / "tmp"
        tmp.mkdir(exist_ok=True)
        with listening(str(tmp / "peer"), answers) as peer:
            if ours:
                done = run_swagent(["-i", image, "--allow-unsigned", "-H", "board:1.0"], folder)
            else:
                done = run([PROGRAM, "-i", image], cwd=folder, env={"TMPDIR": str(tmp)})
        seen.append((done.ok, peer))
    (their_end, theirs), (our_end, own) = seen
    assert own.requests == theirs.requests
    assert own.requests
    assert our_end == their_end
