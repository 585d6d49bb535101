import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swagent.errors import DeadlineError, HashError, ScriptError
from swagent.hw.process import run

Lines = list[tuple[str, str]]


class BytesReader:
    """A Reader over bytes; raises ``error`` where the end would be."""

    def __init__(self, data: bytes, error: Exception | None = None, piece_bytes: int = 50_000) -> None:
        self.rest = data
        self.error = error
        self.piece_bytes = piece_bytes

    def readinto(self, buffer: memoryview) -> int:
        piece = self.rest[: min(len(buffer), self.piece_bytes)]
        if not piece and self.error is not None:
            raise self.error
        self.rest = self.rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


def into(lines: Lines) -> Callable[[str, str], None]:
    return lambda level, line: lines.append((level, line))


def sh(script: str, lines: Lines | None = None, **more: object) -> int:
    argv = ["/bin/sh", "-c", script]
    return run(argv, log=into(lines if lines is not None else []), **more)  # type: ignore[arg-type]  # as run's


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_levels_and_status() -> None:
    lines: Lines = []
    script = "echo out; echo err >&2; echo info >&$SWUPDATE_INFO_FD; echo warn >&4; printf unfinished; exit 7"
    assert sh(script, lines) == 7
    assert sorted(lines) == [
        ("error", "err"),
        ("info", "info"),
        ("trace", "out"),
        ("trace", "unfinished"),
        ("warn", "warn"),
    ]


def test_signal_is_minus_one() -> None:
    assert sh("kill -9 $$") == -1


def test_stdin_is_empty_by_default() -> None:
    lines: Lines = []
    assert sh("cat; echo end", lines) == 0
    assert lines == [("trace", "end")]


def test_feeds_more_than_a_pipe_holds_both_ways() -> None:
    data = b"".join(b"%07d\n" % n for n in range(200_000))
    lines: Lines = []
    assert run(["cat"], log=into(lines), stdin=BytesReader(data)) == 0
    assert "\n".join(text for _, text in lines).encode() + b"\n" == data


def test_output_before_input_is_read() -> None:
    lines: Lines = []
    script = "head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2; wc -c"
    assert sh(script, lines, stdin=BytesReader(b"z" * 1_000_000)) == 0
    assert sum(len(text) for level, text in lines if level == "error") == 300_000
    assert lines[-1] == ("trace", "1000000") or "1000000" in "".join(text for _, text in lines)


def test_program_that_does_not_read() -> None:
    reader = BytesReader(b"x" * 1_000_000)
    assert sh("exec <&-; exit 0", stdin=reader) == 0
    assert reader.rest


def test_program_that_closes_stdin_and_goes_on() -> None:
    lines: Lines = []
    assert sh("exec <&-; sleep 0.2; echo still here", lines, stdin=BytesReader(b"x" * 1_000_000)) == 0
    assert lines == [("trace", "still here")]


def test_error_of_the_reader_kills_and_is_raised(tmp_path: Path) -> None:
    """The program must not take the end of bad data for the end of good data."""
    before = open_fds()
    script = f"sleep 60 & echo $! > {tmp_path}/child; cat > /dev/null; touch {tmp_path}/finished"
    with pytest.raises(HashError):
        sh(script, stdin=BytesReader(b"x" * 500_000, HashError("wrong digest")))
    assert gone(int((tmp_path / "child").read_text()))
    assert not (tmp_path / "finished").exists()
    assert open_fds() == before


def test_deadline_kills_the_whole_session(tmp_path: Path) -> None:
    began_s = time.monotonic()
    before = open_fds()
    with pytest.raises(DeadlineError):
        sh(f"sleep 60 & echo $! > {tmp_path}/child; trap '' TERM INT; wait", deadline_s=0.3)
    assert time.monotonic() - began_s < 5
    assert gone(int((tmp_path / "child").read_text()))
    assert open_fds() == before


def test_what_it_leaves_behind_does_not_hold_us(tmp_path: Path) -> None:
    """A script that starts a service: the service keeps the pipes, and lives on."""
    began_s = time.monotonic()
    lines: Lines = []
    assert sh(f"sleep 30 & echo $! > {tmp_path}/child; echo started; exit 3", lines) == 3
    assert 0.5 < time.monotonic() - began_s < 5
    assert lines == [("trace", "started")]
    child = int((tmp_path / "child").read_text())
    os.kill(child, 0)
    os.kill(child, signal.SIGKILL)


def test_output_after_the_program_ended_is_still_heard() -> None:
    lines: Lines = []
    assert sh("(sleep 0.2; echo late) & exit 0", lines) == 0
    assert lines == [("trace", "late")]


def test_long_lines_come_in_pieces() -> None:
    lines: Lines = []
    assert sh("head -c 10000 /dev/zero | tr '\\0' x; echo; echo short", lines) == 0
    assert [len(text) for _, text in lines] == [4096, 4096, 1808, 5]


def test_odd_bytes_and_line_ends() -> None:
    lines: Lines = []
    assert sh(r"printf 'a\r\n\nb\377c\n'", lines) == 0
    assert [text for _, text in lines] == ["a", "", "b\N{REPLACEMENT CHARACTER}c"]


def test_environment_and_folder(tmp_path: Path) -> None:
    lines: Lines = []
    assert sh('echo "$PWD $A $HOME"', lines, cwd=str(tmp_path), env={"A": "1"}) == 0
    assert lines == [("trace", f"{tmp_path} 1 ")]
    assert sh("true", cwd=str(tmp_path / "missing")) != 0


def test_status_and_arguments_survive_a_folder(tmp_path: Path) -> None:
    lines: Lines = []
    assert run(["/bin/sh", "-c", 'echo "$1"; exit 9', "-", "a  b"], log=into(lines), cwd=str(tmp_path)) == 9
    assert lines == [("trace", "a  b")]


@pytest.mark.parametrize("argv", [["/nonexistent/program"], ["/etc/passwd"], ["/bin/echo", "a\0b"], [""]])
def test_what_cannot_be_started(argv: list[str]) -> None:
    before = open_fds()
    with pytest.raises(ScriptError, match="cannot start"):
        run(argv, log=into([]), stdin=BytesReader(b""))
    assert open_fds() == before


def test_nothing_of_ours_is_inherited() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    lines: Lines = []
    try:
        assert sh("ls /proc/self/fd", lines) == 0
    finally:
        os.close(reading)
        os.close(writing)
    numbers = {int(text) for _, text in lines}
    assert {0, 1, 2, 3, 4} <= numbers
    assert str(writing) not in {str(n) for n in numbers if n > 5}


def test_sigpipe_is_as_usual() -> None:
    lines: Lines = []
    assert sh("yes | head -n 1", lines) == 0
    assert ("trace", "y") in lines
    assert not [text for level, text in lines if level == "error"]


def test_error_of_the_log_kills_too(tmp_path: Path) -> None:
    def log(level: str, line: str) -> None:
        raise HashError(f"{level} {line}")

    before = open_fds()
    with pytest.raises(HashError, match="trace now"):
        run(["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; echo now; sleep 60"], log=log)
    assert gone(int((tmp_path / "pid").read_text()))
    assert open_fds() == before


def test_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.3."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    lines: Lines = []
    assert sh("echo x; exit 4", lines) == 4
    assert lines == [("trace", "x")]


def test_low_descriptors_do_not_collide() -> None:
    """When 0 to 4 are free our own pipes get these numbers; they must still reach the program."""
    import subprocess
    import sys

    code = (
        "import os\n"
        "from swagent.hw.process import run\n"
        "os.dup2(2, 9)\n"
        "for fd in (0, 3, 4): \n"
        "    try: os.close(fd)\n"
        "    except OSError: pass\n"
        "lines = []\n"
        "status = run(['/bin/sh', '-c', 'echo i >&3; echo w >&4; echo o'],"
        " log=lambda level, line: lines.append(level + line))\n"
        "os.write(9, ','.join(sorted(lines)).encode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, cwd=os.getcwd())
    assert done.stderr == b"infoi,traceo,warnw"
