"""Child processes: as whom they run, what becomes of them, what they are told."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.daemon.doors import FD, Process
from swagent.daemon.rights import Identity, identity_of
from swagent.daemon.supervisor import Supervisor
from swagent.errors import NotAcknowledged, SettingsError
from swagent.ipc import ChildCommand, Origin, Type
from swagent.ipc.messages import Command
from tests.conftest import KeyRing
from tests.programs import PROJECT, run

from .running import HARDWARE, daemon, until

ANSWERING = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from swagent.daemon.doors import Orders
from swagent.ipc.messages import Command
orders = Orders(int(sys.argv[1]))
while not orders.gone:
    order = orders.take(1.0)
    if order is None:
        continue
    if order.data == b"die":
        raise SystemExit(3)
    if order.data != b"sleep":
        orders.answer(order._replace(data=order.data.upper(), length_bytes=None), is_ack=order.data != b"no")
"""


def supervised(
    processes: list[Process], test: Callable[[Supervisor, list[str]], Awaitable[Any]], **options: Any
) -> Any:
    """Run a test beside a supervisor."""

    async def both() -> Any:
        lines: list[str] = []
        supervisor = Supervisor(
            processes, lambda level, line: lines.append(line), backoff_s=(0.05, 0.2), **options
        )
        task = asyncio.create_task(supervisor.run())
        try:
            return await test(supervisor, lines)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(both())


async def patiently(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.02)


def answering() -> Process:
    return Process("answers", (sys.executable, "-c", ANSWERING, FD), Origin.SURICATTA)


def test_messages_go_to_the_child_they_are_for() -> None:
    async def test(supervisor: Supervisor, lines: list[str]) -> None:
        await patiently(lambda: lines)
        answer = await supervisor.command(Command(Origin.SURICATTA, ChildCommand.CONFIG, b"hello"))
        assert answer.type == Type.ACK
        assert Command.unpack(answer.body).data == b"HELLO"
        assert (await supervisor.command(Command(Origin.SURICATTA, 1, b"no"))).type == Type.NACK
        for origin in (Origin.WEBSERVER, Origin.UNKNOWN):
            with pytest.raises(NotAcknowledged):
                await supervisor.command(Command(origin, 1, b"hello"))

    supervised([answering(), Process("other", ("sleep", "100"))], test)


def test_a_child_that_does_not_answer_or_dies() -> None:
    async def test(supervisor: Supervisor, lines: list[str]) -> None:
        await patiently(lambda: lines)
        with pytest.raises(NotAcknowledged, match="within 1 s"):
            await supervisor.command(Command(Origin.SURICATTA, 1, b"sleep", 1))
        with pytest.raises(NotAcknowledged):
            await supervisor.command(Command(Origin.SURICATTA, 1, b"die", 30))
        await patiently(lambda: supervisor.states()[0]["starts"] == 2)
        answer = await supervisor.command(Command(Origin.SURICATTA, 1, b"again"))
        assert Command.unpack(answer.body).data == b"AGAIN"
        assert supervisor.states()[0]["ended"] == "ended with status 3"

    supervised([answering()], test)


def test_killed_children_are_started_again_ever_later_and_ended_at_the_end(tmp_path: Path) -> None:
    pids: list[int] = []

    async def test(supervisor: Supervisor, lines: list[str]) -> None:
        for start in range(1, 4):
            await patiently(lambda start=start: supervisor.states()[0]["starts"] == start)  # type: ignore[misc]  # defaults of lambdas
            await patiently(lambda: supervisor.states()[0]["pid"])
            pid = supervisor.states()[0]["pid"]
            assert isinstance(pid, int)
            pids.append(pid)
            if start < 3:
                os.kill(pid, signal.SIGKILL)
        assert [line.rpartition(" in ")[2] for line in lines if "killed by SIGKILL" in line] == [
            "0.05 s",
            "0.1 s",
        ]
        assert supervisor.states()[1]["starts"] == 1, "the others go on"

    supervised([Process("one", ("sleep", "100")), Process("two", ("sleep", "100"))], test)
    assert len(set(pids)) == 3
    assert not Path(f"/proc/{pids[-1]}").exists()


def test_what_cannot_be_started_is_tried_again() -> None:
    async def test(supervisor: Supervisor, lines: list[str]) -> None:
        await patiently(lambda: sum("could not be started" in line for line in lines) > 1)

    supervised([Process("one", ("/nowhere/at/all",))], test)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_rights_are_dropped_with_all_groups() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        assert _told_by_a_child(Path(folder) / "id") == [
            "Uid:", *["65534"] * 4, "Gid:", *["65533"] * 4, "Groups:", "1234",
        ]  # fmt: skip


def _told_by_a_child(told: Path) -> list[str]:
    script = f"grep -E '^(Uid|Gid|Groups)' /proc/self/status > {told}; exec sleep 100"

    async def test(supervisor: Supervisor, lines: list[str]) -> None:
        await patiently(lambda: told.exists() and told.read_text().count("\n") == 3)

    process = Process("one", ("sh", "-c", script), identity=Identity(65534, 65533))
    os.setgroups([4, 24])
    try:
        supervised([process], test, socket_gid=1234)
    finally:
        os.setgroups([])
    return told.read_text().split()


def test_identities() -> None:
    assert identity_of({}, "here") == Identity(None, None)
    assert identity_of({"userid": 7, "groupid": 8, "user": "root"}, "here") == Identity(7, 8)
    assert identity_of({"user": "nobody"}, "here").uid == 65534
    assert identity_of({"user": "nobody"}, "here").gid is not None, "not ours"
    with pytest.raises(SettingsError):
        identity_of({"user": "nobody-of-this-name"}, "here")


def test_processes_of_the_settings_and_the_state_after_a_kill(tmp_path: Path, key_ring: KeyRing) -> None:
    (tmp_path / "settings.cfg").write_text(
        'globals : { }; processes : ( { name = "sleeper"; exec = "sleep 1000"; } );'
    )
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, "-f", "settings.cfg") as running:

        def child() -> dict[str, Any]:
            (found,) = running.client.ask_ours({"do": "state"})["children"]
            return dict(found)

        until(lambda: child()["pid"], "the child")
        first = child()["pid"]
        os.kill(first, signal.SIGKILL)
        until(lambda: child()["pid"] not in (first, None), "another one")
        assert json.dumps(child())
        second = child()["pid"]
        assert running.stop() == 0
    assert not Path(f"/proc/{second}").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_door_that_could_not_use_the_sockets_is_refused_at_the_start(
    tmp_path: Path, key_ring: KeyRing
) -> None:
    group = 'webserver : { user = "nobody"; listening_ports = "127.0.0.1:0"; allow-anonymous = true; };'
    (tmp_path / "settings.cfg").write_text(f"globals : {{ }}; {group}")
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "swagent",
        "daemon",
        "-k",
        key_ring.cert,
        "-f",
        "settings.cfg",
        "-w",
        "-p 0",
        "--socket-group",
        "root",
    ]
    environ = {"RUNTIME_DIRECTORY": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = run(words, cwd=tmp_path, env=environ)
    assert done.code == 70, done.text
    assert "socket-group" in done.text
