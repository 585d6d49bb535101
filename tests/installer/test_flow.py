"""The flow of an authorized update, code by code (authorization db §7, §8), and what user data may do to it."""

import json
import os
import pty
import resource
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swagent.authdb import codes as ev
from tests.authdb.databases import a_list, make
from tests.authdb.units import SWAGENT, codes_of, configure, install, make_unit

BEGUN = [ev.EV_UPGRADE, ev.EV_VERIFY_DATA, ev.EV_AUTH_PASS, ev.EV_INIT_SUCCESS, ev.EV_BURNIMAGE]
USER_DATA_BYTES = 200_000
LIMIT_BYTES = 100_000
"""How large a file the process may write at first."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    make_unit(tmp_path)
    make(tmp_path / "UniAuth.db", [a_list("msn", "SN1")])
    return tmp_path


def with_user_data(folder: Path, more: str = 'properties = { user-data = "true"; };') -> None:
    """An image with user data, larger than may be written at first, and a file."""
    (folder / "user.img").write_bytes(os.urandom(USER_DATA_BYTES))
    (folder / "user").touch()
    (folder / "sw-description").write_text(
        f"""software = {{ version = "2.0";
            images: ( {{ filename = "user.img"; name = "user"; version = "9"; device = "{folder}/user"; {more} }} );
            files: ( {{ filename = "motd"; path = "{folder}/installed"; type = "rawfile"; }} );
        }};"""
    )
    subprocess.run(
        [SWAGENT, "make", "-s", "sw-description", "-o", "update.swu", "--unsigned"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))


def test_everything_passes(unit: Path) -> None:
    assert codes_of(install(unit)[1]) == [*BEGUN, ev.EV_COMPLETE]


@pytest.mark.parametrize(
    ("lists", "steps"),
    [
        (["msn"], [ev.EV_VERIFY_DATA]),
        (["model_number"], [ev.EV_VERIFY_DATA] * 2),
        (["image_version"], [ev.EV_VERIFY_DATA] * 3),
    ],
)
@pytest.mark.parametrize("allow", [True, False])
def test_each_list_refuses(unit: Path, lists: list[str], steps: list[int], allow: bool) -> None:
    data = {"msn": "SN1", "model_number": "M1", "image_version": "2.0"}
    refusing = "other" if allow else data[lists[0]]
    others = [a_list(name, datum) for name, datum in data.items() if name not in lists]
    make(unit / "UniAuth.db", [*others, a_list(lists[0], refusing, allow=allow)])
    code, events = install(unit)
    assert code == 32
    assert codes_of(events) == [ev.EV_UPGRADE, *steps, ev.EV_DATA_NOT_MATCH, ev.EV_INIT_ERROR]


def test_the_database_is_missing(unit: Path) -> None:
    configure(unit, required=True)
    (unit / "UniAuth.db").unlink()
    assert codes_of(install(unit)[1]) == [ev.EV_UPGRADE, ev.EV_AUTH_DB_LOST, ev.EV_INIT_ERROR]


def test_the_database_is_damaged(unit: Path) -> None:
    data = bytearray((unit / "UniAuth.db").read_bytes())
    data[-1] ^= 1
    (unit / "UniAuth.db").write_bytes(data)
    assert codes_of(install(unit)[1]) == [ev.EV_UPGRADE, ev.EV_AUTH_DB_ERROR, ev.EV_INIT_ERROR]


def test_the_unit_does_not_tell_its_serial_number(unit: Path) -> None:
    configure(unit, msn=f"file:{unit}/nothing")
    assert codes_of(install(unit)[1]) == [ev.EV_UPGRADE, ev.EV_DATA_NOT_MATCH, ev.EV_INIT_ERROR]


def test_a_write_fails(unit: Path) -> None:
    with_user_data(unit, more="")
    code, events = install(unit, before=limited)
    assert code == 41
    assert codes_of(events) == [*BEGUN, ev.EV_ERROR]


def test_the_battery_is_low(unit: Path) -> None:
    """On a real folder of the kernel's form, mounted where the kernel's own is, for this process alone."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, to mount a battery")
    battery = unit / "power" / "BAT0"
    battery.mkdir(parents=True)
    for name, text in {
        "type": "Battery",
        "scope": "System",
        "status": "Discharging",
        "capacity": "7",
    }.items():
        (battery / name).write_text(text + "\n")
    with open(unit / "swupdate.cfg", "a", encoding="utf-8") as config:
        config.write("swagent : { battery-min-percent = 30; };\n")
    under = [
        "unshare",
        "-m",
        "sh",
        "-c",
        'mount --bind "$0" /sys/class/power_supply && exec "$@"',
        str(battery.parent),
    ]
    code, events = install(unit, under=under)
    assert (code, codes_of(events)) == (34, [ev.EV_UPGRADE, ev.EV_LOW_POWER])


# -- user data


def decide(folder: Path, what: str) -> None:
    with open(folder / "swupdate.cfg", "a", encoding="utf-8") as config:
        config.write(f'swagent : {{ user-data-failure = "{what}"; }};\n')


def test_the_update_goes_on_without_user_data(unit: Path) -> None:
    with_user_data(unit)
    decide(unit, "skip")
    code, events = install(unit, "update.swu", "-s", str(unit / "versions"), before=limited)
    assert code == 0
    assert "user" not in (unit / "versions").read_text()  # it is not installed
    assert codes_of(events) == [*BEGUN, ev.EV_UPGRADE_FAILED, ev.EV_USERDATA_ERROR_SKIP, ev.EV_COMPLETE]


def test_nobody_decided(unit: Path) -> None:
    with_user_data(unit)
    code, events = install(unit, before=limited)
    assert (code, codes_of(events)) == (41, [*BEGUN, ev.EV_UPGRADE_FAILED, ev.EV_ERROR])


def test_force_fails_too(unit: Path) -> None:
    with_user_data(unit)
    decide(unit, "force")
    code, events = install(unit, before=limited)
    assert code == 41
    forced = [ev.EV_USERDATA_ERROR_MANDATORY, ev.EV_BURNPARTITION, ev.EV_UPGRADE_FAILED]
    assert codes_of(events) == [*BEGUN, ev.EV_UPGRADE_FAILED, *forced, ev.EV_ERROR]


def test_a_person_has_them_written_by_force(unit: Path) -> None:
    """Who is asked makes room first; then the same data are written whole."""
    with_user_data(unit)
    argv = [SWAGENT, "-f", "swupdate.cfg", "-i", "update.swu", "--allow-unsigned", "--ask", "--json"]
    pid, ours = pty.fork()
    if pid == 0:
        os.chdir(unit)
        limited()
        os.execve(
            SWAGENT,
            [str(word) for word in argv],
            {**os.environ, "RUNTIME_DIRECTORY": str(unit), "TMPDIR": str(unit), "STATE_DIRECTORY": str(unit)},
        )

    def make_room() -> bytes:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return b"f\n"

    shown = converse(ours, {b"[y/N]": lambda: b"y\n", b"cancel the update": make_room})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    events = [json.loads(line[line.index("{") :]) for line in shown.splitlines() if '{"event"' in line]
    forced = [ev.EV_USERDATA_ERROR_MANDATORY, ev.EV_BURNPARTITION]
    assert codes_of(events) == [*BEGUN, ev.EV_UPGRADE_FAILED, *forced, ev.EV_COMPLETE]
    assert (unit / "user").read_bytes() == (unit / "user.img").read_bytes()


def converse(terminal: int, answers: dict[bytes, Callable[[], bytes]]) -> str:
    """Answer each question once; all that was shown."""
    shown = b""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break  # it has ended
        for question in [question for question in answers if question in shown]:
            os.write(terminal, answers.pop(question)())
    os.close(terminal)
    return shown.decode()


def test_an_image_that_is_not_what_was_signed_always_ends_it(unit: Path) -> None:
    with_user_data(unit)
    decide(unit, "skip")
    (unit / "UniAuth.db").unlink()
    data = bytearray((unit / "update.swu").read_bytes())
    data[data.rindex((unit / "user.img").read_bytes()[:64])] ^= 1
    (unit / "update.swu").write_bytes(data)
    assert install(unit)[0] == 21


def test_it_must_be_there_for_a_second_time(unit: Path) -> None:
    with_user_data(unit, more='installed-directly = true; properties = { user-data = "true"; };')
    code, events = install(unit)
    assert code == 11
    assert "installed-directly" in events[-1]["error"]["hint"]
