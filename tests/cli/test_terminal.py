import io
import os
import pty
import re

import pytest

from swagent.cli.terminal import Terminal, make_terminal, refusal_text
from swagent.cli.units import clean, columns, fit, left, seconds, size
from swagent.errors import DeviceError, HashError, SwagentError, UsageError
from swagent.events import Event

from .sessions import MIB, failing, installing

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def screen(text: str, width: int = 200) -> list[str]:
    """What a terminal shows in the end: knows the escapes that we use, and fails on any other."""
    lines = [""]
    row = 0
    for part in re.split(r"(\x1b\[[0-9;]*[A-Za-z]|\n)", text):
        if part == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif match := re.fullmatch(r"\x1b\[(\d*)F", part):
            row -= int(match[1])
            assert row >= 0
        elif part == "\x1b[J":
            del lines[row + 1 :]
            lines[row] = ""
        elif re.fullmatch(r"\x1b\[\d*m", part):
            pass
        else:
            assert "\x1b" not in part
            assert len(part) <= width
            lines[row] = lines[row] + part
    return lines


def shown(
    events: list[Event], *, width: int = 100, colour: bool = False, live: bool = True, motion: bool = True
) -> str:
    out = io.StringIO()
    terminal = Terminal(out, width=width, colour=colour, live=live, motion=motion)
    for event in events:
        terminal.show(event)
    terminal.close()
    return out.getvalue()


def test_a_whole_session_ends_as_head_lines_and_verdict() -> None:
    assert screen(shown(list(installing()))) == [
        'update.swu   2.4.0   "July maintenance"   signed by release.pem (RSA-PSS)   412 MiB',
        "for          gateway rev 1.3   installs stable,copy2",
        "",
        "  ✓ rootfs.ext4.zst   raw → /dev/mmcblk0p3     390 MiB    12.1 s   verified",
        "  – calibration.tar   already installed (3.1)   skipped",  # noqa: RUF001 - the dash is meant
        "  warning: low battery",
        "  ✓ fix.sh            shellscript preinst",
        "  ✓ motor-fw.hex      ucfw → /dev/ttymxc2      4.0 KiB     1.0 s",
        "  ✓ boot environment   slot, upgrade_available",
        "",
        "Installed 2.4.0 (stable,copy2) in 19.8 s.",
        "Next: reboot",
        "",
    ]


def test_while_it_works_the_bar_has_percent_rate_and_time_left() -> None:
    events = [event for event in installing() if event.event != "update.verdict"][:53]
    now = next(line for line in shown(events, width=140).split("\n")[::-1] if "▸" in line)
    assert re.search(
        r"▸ rootfs\.ext4\.zst .*━+╸─+ +48 %   39\.0 MiB/s   ETA 0:06   .* of 390 MiB   step 1/2", now
    )


def test_what_waits_is_listed_below() -> None:
    events = list(installing())[:10]
    out = io.StringIO()
    terminal = Terminal(out, width=100, colour=False, live=True)
    for event in events:
        terminal.show(event)
    lines = screen(out.getvalue())
    assert "▸ rootfs.ext4.zst" in lines[3]
    assert lines[4] == "  · motor-fw.hex      ucfw → /dev/ttymxc2    waiting"


@pytest.mark.parametrize("width", [20, 40, 80, 132])
def test_what_is_redrawn_never_wraps(width: int) -> None:
    text = shown(list(installing()), width=width)
    for frame in text.split("\x1b[J"):
        for line in frame.split("\n"):
            if "▸" in line or "waiting" in line:
                assert columns(ESCAPE.sub("", line)) < max(width, 20)


def test_at_most_ten_redraws_a_second() -> None:
    events = list(installing(steps_s=0.001))
    first, last = events[0].time_s, events[-1].time_s
    redraws = shown(events).count("\x1b[J")
    assert 1 < redraws <= (last - first) * 10 + 2


def test_a_failure_marks_the_line_and_leaves_the_words_to_stderr() -> None:
    lines = screen(shown(list(failing())))
    assert "  ✗ rootfs.ext4.zst   raw → /dev/mmcblk0p3   failed" in lines
    assert not any("promised" in line or "Installed" in line or "▸" in line for line in lines)


def test_silent_without_a_terminal_but_for_the_verdict() -> None:
    assert (
        shown(list(installing()), live=False) == "Installed 2.4.0 (stable,copy2) in 19.8 s.\nNext: reboot\n"
    )
    assert shown(list(failing()), live=False) == ""


def test_dry_run_says_that_nothing_was_written() -> None:
    text = shown(list(installing(dry_run=True)))
    assert "dry run: nothing is written" in text and "Nothing was written." in text


def test_nothing_to_do_and_the_installers_own_sentence() -> None:
    facts = {"result": "nothing-to-do", "exit_code": 0, "error": None, "next": "", "seconds": 0.1}
    assert "is installed already" in shown([Event("update.verdict", facts=facts)], live=False)
    told = Event("update.verdict", message="Installed 2 to copy2. The device still runs 1.", facts=facts)
    assert shown([told], live=False) == "Installed 2 to copy2. The device still runs 1.\n"


def test_colour_is_for_verdicts_and_the_word_is_there_without() -> None:
    coloured, plain = shown(list(installing()), colour=True), shown(list(installing()))
    assert "\x1b[32mInstalled\x1b[0m" in coloured and "\x1b[33mskipped\x1b[0m" in coloured
    assert "\x1b[32m✓\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain
    assert "m" not in {part[-1] for part in ESCAPE.findall(plain)}


def test_a_dumb_terminal_gets_lines_but_no_movement() -> None:
    text = shown(list(installing()), motion=False)
    assert "\x1b" not in text and "▸" not in text
    assert "✓ rootfs.ext4.zst" in text and "Installed 2.4.0" in text


def test_an_encoding_without_marks_gets_ascii() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    terminal = Terminal(out, width=100, colour=False, live=True)
    for event in installing():
        terminal.show(event)
    terminal.show(Event("artifact.skipped", 2e6, "s", "größe.bin", "raw", facts={"reason": "x"}))
    terminal.close()
    text = raw.getvalue().decode("ascii")
    assert "  + rootfs.ext4.zst   raw -> /dev/mmcblk0p3" in text and "===>" in text and "gr??e.bin" in text


def test_names_of_an_image_cannot_move_the_cursor() -> None:
    evil = "a\x1b[2J\r\u202eb\x9b"
    events = [
        Event("update.started", 1, facts={"source": evil, "size": 1}),
        Event(
            "update.planned", 1, facts={"version": evil, "description": evil, "entries": [{"artifact": evil}]}
        ),
        Event("artifact.started", 2, "s", evil, evil),
        Event("artifact.done", 3, "s", evil, evil, 5, 5),
        Event("log", 4, message=evil, facts={"level": "error"}),
        Event("bootenv.done", 5, facts={"variables": [evil]}),
        Event("update.verdict", 6, message=evil, facts={"result": "installed", "next": evil}),
    ]
    text = re.sub(r"\x1b\[\d+F\x1b\[J", "", shown(events, motion=False))
    assert not set(text) & set("\x1b\r\u202e\x9b")
    assert not set(refusal_text(SwagentError(evil, artifact=evil, hint=evil), 80, False)) & set(
        "\x1b\r\u202e\x9b"
    )


def test_events_that_say_little_are_drawn_too() -> None:
    text = shown([Event("artifact.done", 1, "s", "a", "raw"), Event("artifact.failed", 2, "s", "a", "raw")])
    assert "✓ a" in text and "✗ a" in text


def test_two_entries_of_one_member_are_two_lines() -> None:
    entries = [
        {"artifact": "a", "handler": "raw", "target": t, "fate": "direct"} for t in ("/dev/x", "/dev/y")
    ]
    events = [Event("update.planned", 1, facts={"version": "1", "entries": entries})]
    for second in (2, 4):
        events.append(Event("artifact.started", second, "s", "a", "raw"))
        events.append(Event("artifact.done", second + 1, "s", "a", "raw", 1, 1))
    lines = screen(shown(events))
    assert [line.split()[4] for line in lines if "✓" in line] == ["/dev/x", "/dev/y"]


def test_thousands_of_artifacts_stay_cheap_and_the_region_small() -> None:
    entries = [{"artifact": f"f{n}", "handler": "rawfile", "target": f"/t/f{n}"} for n in range(2000)]
    events = [Event("update.planned", 1, facts={"version": "1", "entries": entries})]
    for n in range(2000):
        events.append(Event("artifact.started", 1 + n / 2000, "s", f"f{n}", "rawfile"))
        events.append(Event("artifact.done", 1 + n / 2000, "s", f"f{n}", "rawfile", 1, 1))
    text = shown(events)
    assert max(int(up) for up in re.findall(r"\x1b\[(\d+)F", text)) <= 6
    assert len(re.findall(r"✓", text)) == 2000
    assert "more   waiting" in text


def test_a_terminal_that_goes_away_does_not_stop_the_update() -> None:
    out = io.StringIO()
    terminal = Terminal(out, width=80, colour=False, live=True)
    events = list(installing())
    for event in events[:20]:
        terminal.show(event)
    out.close()
    for event in events[20:]:
        terminal.show(event)
    terminal.close()


def test_make_terminal_reads_the_environment() -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stream:

        def output(env: dict[str, str], *, quiet: bool = False) -> str:
            terminal = make_terminal(stream, env, quiet)
            for event in installing():
                terminal.show(event)
                os.set_blocking(master, False)
                try:
                    while True:
                        got.append(os.read(master, 65536))
                except BlockingIOError:
                    pass
            text = b"".join(got).decode()
            got.clear()
            return text

        got: list[bytes] = []
        assert "\x1b[32mInstalled" in output({"TERM": "xterm"})
        no_colour = output({"TERM": "xterm", "NO_COLOR": "1"})
        assert "\x1b[32m" not in no_colour and "\x1b[J" in no_colour
        assert "\x1b[32m" in output({"TERM": "xterm", "NO_COLOR": ""})
        dumb = output({"TERM": "dumb"})
        assert "\x1b" not in dumb and "✓" in dumb
        assert output({"TERM": "xterm"}, quiet=True).count("\n") == 2
        assert max(len(line) for line in output({"TERM": "dumb", "COLUMNS": "90"}).split("\n")) <= 91
    os.close(master)


def test_a_pipe_is_not_a_terminal() -> None:
    out = io.StringIO()
    terminal = make_terminal(out, {"TERM": "xterm"}, False)
    for event in installing():
        terminal.show(event)
    assert out.getvalue().startswith("Installed") and "\x1b" not in out.getvalue()


def test_a_refusal_says_what_where_and_the_way_out() -> None:
    error = HashError(
        "rootfs.ext4.zst is not what sw-description promised\nsha256   expected 9f2c…e1   found 41aa…07",
        artifact="rootfs.ext4.zst",
        handler="raw",
        hint="download the image again",
    )
    assert refusal_text(error, 80, False) == (
        "refused: rootfs.ext4.zst is not what sw-description promised             exit 21\n"
        "  sha256   expected 9f2c…e1   found 41aa…07\n"
        "  try: download the image again\n"
    )
    assert refusal_text(error, 80, True).startswith("\x1b[31mrefused\x1b[0m: ")


def test_the_word_says_what_kind_of_no_it_is() -> None:
    device = DeviceError("/dev/x: no space", path="/dev/x", errno=28, artifact="a.img", handler="raw")
    assert refusal_text(device, 80, False).splitlines()[1] == "  artifact a.img, handler raw"
    assert refusal_text(device, 80, False).startswith("failed: ")
    usage = refusal_text(UsageError("unknown option --kye", hint="did you mean --key?"), 80, False)
    assert usage.startswith("usage: ") and usage.endswith("exit 2\n  did you mean --key?\n")


def test_a_long_refusal_is_wrapped() -> None:
    lines = refusal_text(SwagentError("word " * 60, hint="hint " * 40), 80, False).splitlines()
    assert lines[0].endswith("exit 1") and all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (432013312, "412 MiB"),
     (1023 * 1024, "1.0 MiB"), (1 << 30, "1.0 GiB"), (102349, "100 KiB"), (1 << 70, "1048576 PiB")],
)  # fmt: skip
def test_sizes_are_binary(n_bytes: int, text: str) -> None:
    assert size(n_bytes) == text


@pytest.mark.parametrize(
    ("time_s", "text"), [(0.04, "0.0 s"), (12.1, "12.1 s"), (200, "3 min 20 s"), (7260, "2 h 01 min")]
)
def test_durations(time_s: float, text: str) -> None:
    assert seconds(time_s) == text


def test_time_left() -> None:
    assert [left(2.1), left(59.0), left(61), left(3722)] == ["0:03", "0:59", "1:01", "1:02:02"]


def test_text_is_cut_in_the_middle_by_columns() -> None:
    assert fit("abcdefghij", 10) == "abcdefghij"
    assert fit("abcdefghij", 7) == "abcd…ij"
    assert columns(fit("漢字漢字漢字", 7)) <= 7
    assert fit("abc", 1) == "…" and fit("abc", 0) == ""
    assert clean("a\tb\x00") == "a b\\x00"


def test_the_bar_is_full_only_at_the_end() -> None:
    started = Event("artifact.started", 1, "s", "a", "raw", 0, 100 * MIB)
    nearly = Event("artifact.progress", 2, "s", "a", "raw", 100 * MIB - 1, 100 * MIB)
    assert "╸" in shown([started, nearly]).rsplit("\x1b[J", 2)[1] and " 99 %" in shown([started, nearly])
