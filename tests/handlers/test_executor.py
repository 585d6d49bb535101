from pathlib import Path

import pytest

from swagent.errors import Cancelled, DescriptionError, HashError, PreflightRefused, ScriptError
from swagent.hw import Hardware
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, install


def image(**properties: str) -> Artifact:
    values = {name: (value,) for name, value in properties.items()}
    return Artifact(Kind.IMAGE, "executor", filename="fw.bin", properties=values, where="images[0] fw.bin")


def context(tmp_path: Path) -> FakeContext:
    return FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)))


def test_gets_the_bytes_and_its_parameters(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    art = image(cmd="/usr/bin/tee", parms=f"-a {tmp_path}/out >/dev/null")
    install(art, FakeData(data, chunk_bytes=777), context(tmp_path))
    assert (tmp_path / "out").read_bytes() == data


def test_no_parameters(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    install(image(cmd="/bin/cat"), FakeData(b"hello\n"), ctx)
    assert ctx.logged == [("trace", "hello")]


def test_path_with_blanks_is_one_path(tmp_path: Path) -> None:
    program = tmp_path / "my program; false"
    program.write_text('#!/bin/sh\necho "$1"; cat >/dev/null\n')
    program.chmod(0o755)
    ctx = context(tmp_path)
    install(image(cmd=str(program), parms="'a b'"), FakeData(b"x"), ctx)
    assert ctx.logged == [("trace", "a b")]


def test_status_counts(tmp_path: Path) -> None:
    art = image(cmd="/bin/sh", parms="-c 'cat >/dev/null; echo no room >&2; exit 5'")
    with pytest.raises(ScriptError, match="status 5: no room"):
        install(art, FakeData(b"x" * 100_000), context(tmp_path))


def test_wrong_verdict_kills_the_program(tmp_path: Path) -> None:
    art = image(cmd="/bin/sh", parms=f"-c 'cat >/dev/null; touch {tmp_path}/finished'")
    with pytest.raises(HashError):
        install(art, FakeData(b"x" * 100_000, verdict=HashError("wrong digest")), context(tmp_path))
    assert not (tmp_path / "finished").exists()


@pytest.mark.parametrize("verdict", [None, HashError("wrong digest")])
def test_program_that_reads_little_does_not_hide_the_verdict(
    tmp_path: Path, verdict: HashError | None
) -> None:
    data = FakeData(b"x" * 3_000_000, verdict=verdict)
    art = image(cmd="/usr/bin/head", parms="-c 1 >/dev/null")
    if verdict is None:
        install(art, data, context(tmp_path))
    else:
        with pytest.raises(HashError):
            install(art, data, context(tmp_path))
    assert data.ended


def test_can_be_cancelled(tmp_path: Path) -> None:
    def stop() -> None:
        if data.read_bytes > 500_000:
            raise Cancelled("stop")

    data = FakeData(b"x" * 3_000_000, chunk_bytes=100_000)
    ctx = context(tmp_path)
    ctx.before_checkpoint = stop
    art = image(cmd="/bin/sh", parms=f"-c 'cat >/dev/null; touch {tmp_path}/finished'")
    with pytest.raises(Cancelled):
        install(art, data, ctx)
    assert data.read_bytes < 1_000_000
    assert not (tmp_path / "finished").exists()


@pytest.mark.parametrize(
    "cmd", ["cat", "bin/cat", "/nonexistent", "/etc/passwd", "/tmp", "/bin/cat -v", "/bin/cat\0"]
)
def test_refused_beforehand(tmp_path: Path, cmd: str) -> None:
    data = FakeData(b"x")
    with pytest.raises(PreflightRefused):
        install(image(cmd=cmd), data, context(tmp_path))
    assert data.read_bytes == 0


def test_cmd_is_mandatory(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="cmd"):
        install(image(), FakeData(b"x"), context(tmp_path))
