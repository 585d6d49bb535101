import stat
from pathlib import Path

import pytest

from swagent.errors import ArchiveError, PreflightRefused, ScriptError
from swagent.handlers.shell import quoted
from swagent.hw import Hardware
from swagent.model import Artifact, Kind, Phase
from swagent.testing import FakeContext, run_script

EVERY = [Phase.PREINSTALL, Phase.POSTINSTALL, Phase.POSTFAILURE]
ECHO = b'#!/bin/sh\nfor word; do printf "[%s]" "$word"; done; echo\n'


def context(tmp_path: Path, script: bytes, name: str = "s.sh") -> FakeContext:
    return FakeContext(str(tmp_path), hw=Hardware(str(tmp_path)), scripts={name: script})


def script(handler: str, data: str = "", name: str = "s.sh") -> Artifact:
    return Artifact(Kind.SCRIPT, handler, filename=name, data=data, where=f"scripts[0] {name}")


@pytest.mark.parametrize(
    ("handler", "printed"),
    [
        ("shellscript", ["[preinst][a][b c]", "[postinst][a][b c]", "[postfailure][a][b c]"]),
        ("preinstall", ["[a][b c]"]),
        ("postinstall", ["[a][b c]"]),
    ],
)
def test_words(tmp_path: Path, handler: str, printed: list[str]) -> None:
    ctx = context(tmp_path, ECHO)
    run_script(script(handler, "a 'b c'"), EVERY, ctx)
    assert ctx.logged == [("trace", line) for line in printed]


@pytest.mark.parametrize(
    ("handler", "phase"), [("preinstall", Phase.PREINSTALL), ("postinstall", Phase.POSTINSTALL)]
)
def test_own_phase_only(tmp_path: Path, handler: str, phase: Phase) -> None:
    ctx = context(tmp_path, ECHO)
    run_script(script(handler, "x"), [other for other in EVERY if other is not phase], ctx)
    assert ctx.logged == []
    run_script(script(handler, "x"), [phase], ctx)
    assert ctx.logged == [("trace", "[x]")]


def test_no_data_no_words(tmp_path: Path) -> None:
    ctx = context(tmp_path, ECHO)
    run_script(script("preinstall"), [Phase.PREINSTALL], ctx)
    assert ctx.logged == [("trace", "")]


def test_failure_says_status_and_last_line(tmp_path: Path) -> None:
    ctx = context(tmp_path, b"#!/bin/sh\necho first >&2\necho disk is full >&2\necho\nexit 3\n")
    with pytest.raises(ScriptError) as caught:
        run_script(script("shellscript"), [Phase.PREINSTALL], ctx)
    assert caught.value.message == "scripts[0] s.sh: shellscript ended with status 3: disk is full"
    assert caught.value.artifact == "s.sh"
    assert ("error", "first") in ctx.logged


def test_signal(tmp_path: Path) -> None:
    ctx = context(tmp_path, b"#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(ScriptError, match=r"was ended by a signal|ended with status 137"):
        run_script(script("shellscript"), [Phase.PREINSTALL], ctx)


def test_wrong_interpreter_has_a_hint(tmp_path: Path) -> None:
    ctx = context(tmp_path, b"#!/nonexistent/interpreter\n")
    with pytest.raises(ScriptError) as caught:
        run_script(script("shellscript"), [Phase.PREINSTALL], ctx)
    assert "#!" in caught.value.hint


def test_name_is_one_word_for_the_shell(tmp_path: Path) -> None:
    name = "it's; touch pwned $(touch pwned2).sh"
    ctx = context(tmp_path, ECHO, name)
    run_script(script("shellscript", "x", name), [Phase.PREINSTALL], ctx)
    assert ctx.logged == [("trace", "[preinst][x]")]
    assert stat.S_IMODE((tmp_path / "scripts" / name).stat().st_mode) == 0o700


@pytest.mark.parametrize("word", ["", "a", "a b", "it's", "''", "$(x)`y`\\", "a\nb"])
def test_quoted(tmp_path: Path, word: str) -> None:
    got: list[str] = []
    log = lambda level, line: got.append(line)  # noqa: E731 - one expression, used once
    assert Hardware(str(tmp_path)).run(["/bin/sh", "-c", f"printf %s {quoted(word)}"], log=log) == 0
    assert "\n".join(got) == word


def test_four_channels(tmp_path: Path) -> None:
    ctx = context(tmp_path, b"#!/bin/sh\necho w >&$SWUPDATE_WARN_FD; echo i >&$SWUPDATE_INFO_FD\n")
    run_script(script("shellscript"), [Phase.POSTFAILURE], ctx)
    assert sorted(ctx.logged) == [("info", "i"), ("warn", "w")]


def test_refused_beforehand(tmp_path: Path) -> None:
    ctx = context(tmp_path, ECHO)
    with pytest.raises(PreflightRefused, match="names no file"):
        run_script(script("shellscript", name=""), [Phase.PREINSTALL], ctx)
    with pytest.raises(PreflightRefused, match="NUL"):
        run_script(script("shellscript", data="a\0b"), [Phase.PREINSTALL], ctx)


def test_missing_member(tmp_path: Path) -> None:
    ctx = context(tmp_path, ECHO)
    with pytest.raises(ArchiveError):
        run_script(script("shellscript", name="other.sh"), [Phase.PREINSTALL], ctx)
