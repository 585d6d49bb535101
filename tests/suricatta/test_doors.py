"""The doors of the real daemon: a server tells of an update, the unit reboots, confirms, and the server is told."""

import json
import os
import random
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.daemon.rights import FIRST_UID, SOCKETS_GID
from swagent.ipc import ChildCommand, Origin, Progress, Status, progress
from swagent.testing.hawkbit import Action, serving
from swagent.testing.hawkbit import Hawkbit as Server
from tests.daemon.running import Running, daemon, until
from tests.e2e.test_confirm import Unit
from tests.net.authority import Authority
from tests.net.server import Exchange
from tests.net.server import serving as file_serving
from tests.programs import Done, need

UNIT = "unit-1"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        found.state.tokens[UNIT] = "secret"
        yield found


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def words(server: Server, more: str = "") -> str:
    return (
        f"-S hawkbit -u {server.url} -t default -i {UNIT} -k secret --identify board gateway -r 2 -w 0 {more}"
    )


def assigned(server: Server, unit: Unit, *versions: str) -> Action:
    files = [{"update.swu": unit.image(version).read_bytes()} for version in versions or ("2.4.0",)]
    return server.state.assign(UNIT, *files)


def ended(server: Server, action: Action) -> str:
    until(lambda: not action.is_open, f"the end of {action}")
    return action.status


def pid_of(running: Running, name: str) -> int:
    """The door's process, once it runs."""
    found: list[int] = []

    def look() -> bool:
        children = running.client.ask_ours({"do": "state"})["children"]
        found[:] = [child["pid"] for child in children if child["name"] == name and child["pid"]]
        return bool(found)

    until(look, name)
    return found[0]


def installed(unit: Unit) -> int:
    """How many updates the journal knows."""
    text = (unit.state / "journal.json").read_text() if (unit.state / "journal.json").exists() else "{}"
    return len(json.loads(text).get("updates", []))


def test_what_follows_it_is_told_who_wants_it(server: Server, unit: Unit) -> None:
    with daemon(unit.folder, *unit.options(), "-u", words(server)) as running:
        heard = progress(str(running.folder / "swupdateprog"), patience_s=60)
        starts = (
            each for each in heard if each.status == Status.START
        )  # what has been downloaded may come before
        first = threading.Thread(target=lambda: found.append(next(starts)), daemon=True)
        found: list[Progress] = []
        first.start()
        polls = server.state.polls
        until(lambda: server.state.polls > polls + 1, "polls, by when it listens")
        action = assigned(server, unit)
        until(lambda: "All Chunks Installed." in action.messages, "the update")
        first.join(60)
        assert found[0].origin == Origin.SURICATTA
        info = json.loads(found[0].info)
        assert (info["server"], info["id"], info["update"]) == ("hawkbit", str(action.number), "forced")


def test_the_whole_cycle(server: Server, unit: Unit) -> None:
    action = assigned(server, unit)
    with daemon(unit.folder, *unit.options(), "-u", words(server)) as running:
        until(lambda: "All Chunks Installed." in action.messages, "the update")
        until(lambda: "COMMITTED" in (unit.state / "journal.json").read_text(), "the journal")
        assert server.state.attributes == {UNIT: {"board": "gateway"}}
        assert running.stop() == 0
    assert action.status == "running"
    assert unit.env()["slot"] == "b"
    unit.reboot()
    with daemon(unit.folder, *unit.options(), "-u", words(server)) as running:
        until(lambda: "Update Installed, Testing Pending." in action.messages, "the note")
        assert action.status == "running", "it is not confirmed yet"
        assert unit.confirm().ok
        assert ended(server, action) == "finished"
    assert installed(unit) == 1
    assert unit.info()["updates"][0]["correlation_id"].endswith(f"{action.number} 0")  # type: ignore[index]


def test_an_update_that_does_not_prove_good(server: Server, unit: Unit) -> None:
    unit.check("10-network", "echo no network; exit 1")
    action = assigned(server, unit)
    with daemon(unit.folder, *unit.options(), "-u", words(server)) as running:
        until(lambda: "All Chunks Installed." in action.messages, "the update")
        until(lambda: "COMMITTED" in (unit.state / "journal.json").read_text(), "the journal")
        unit.reboot()
        assert not unit.confirm().ok
        assert ended(server, action) == "error"
        assert running.stop() == 0
    assert "no network" in server.state.told[-1].details[1]


def test_an_image_that_nobody_signed(server: Server, unit: Unit) -> None:
    forged = unit.image().read_bytes().replace(b"2.4.0", b"4.2.0", 1)  # the sum stays the same
    action = server.state.assign(UNIT, {"update.swu": forged})
    with daemon(unit.folder, *unit.options(), "-u", words(server)):
        assert ended(server, action) == "error"
    assert "signature" in server.state.told[-1].details[-1]
    assert unit.env()["slot"] == "a"


def test_a_daemon_that_only_tries_is_no_success(server: Server, unit: Unit) -> None:
    action = assigned(server, unit)
    with daemon(unit.folder, *unit.options(), "-n", "-u", words(server)):
        assert ended(server, action) == "error"
    assert "--dry-run" in server.state.told[-1].details[-1]
    assert unit.env()["slot"] == "a"


def test_orders_of_local_clients(server: Server, unit: Unit) -> None:
    server.state.sleep = "01:00:00"
    with daemon(unit.folder, *unit.options(), "-u", words(server, "-d")) as running:
        pid_of(running, "suricatta")
        client = running.client

        def status() -> int:
            found = client.command(Origin.SURICATTA, ChildCommand.GET_STATUS, timeout_s=10)
            assert found.length_bytes == 0
            return int(json.loads(found.data)["server"]["status"])

        assert status() == 15, "it is off"
        client.command(Origin.SURICATTA, ChildCommand.ENABLE, b'{ "trigger" : true}')
        until(lambda: status() == 0, "a poll")
        polls = server.state.polls
        client.command(Origin.SURICATTA, ChildCommand.CONFIG, b'{ "polling" : "1"}')
        client.command(Origin.SURICATTA, ChildCommand.ENABLE, b'{ "enable" : true}')
        until(lambda: server.state.polls > polls + 1, "polls")
        client.command(Origin.SURICATTA, ChildCommand.ENABLE, b'{ "enable" : false}')
        action = assigned(server, unit)
        order = {
            "id": str(action.number),
            "status": "2",
            "finished": "success",
            "execution": "closed",
            "details": ["by hand"],
        }
        client.command(Origin.SURICATTA, ChildCommand.ACTIVATION, json.dumps(order).encode())
        assert action.status == "finished" and action.messages == ["by hand"]


def test_swupdates_own_program_gives_the_orders(server: Server, unit: Unit) -> None:
    """Debian's swupdate-ipc, each word of it that is for a server."""
    need("swupdate-ipc")
    server.state.sleep = "01:00:00"
    with daemon(unit.folder, *unit.options(), "-u", words(server, "-d"), private=True) as running:
        pid_of(running, "suricatta")

        def ipc(*order: str) -> Done:
            return running.run("swupdate-ipc", *order)

        assert "15" in ipc("gethawkbit").text
        assert ipc("hawkbitcfg", "-t").ok
        until(lambda: server.state.polls == 1, "a poll")
        assert ipc("hawkbitcfg", "-p", "1").ok
        assert ipc("hawkbitcfg", "-e").ok
        until(lambda: server.state.polls > 2, "polls")
        assert ipc("hawkbitcfg", "-d").ok
        action = assigned(server, unit)
        done = ipc("sendtohawkbit", str(action.number), "2", "success", "closed", "by hand", "and well")
        assert done.ok, done.text
        assert (action.status, action.messages) == ("finished", ["by hand", "and well"])


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_kill_9_of_the_door_again_and_again(server: Server, unit: Unit, seed: int) -> None:
    """Whenever it dies: in the end the update is installed, and the server is told so once it is confirmed."""
    import time

    action = assigned(server, unit)
    dice = random.Random(seed)
    with daemon(unit.folder, *unit.options(), "-u", words(server)) as running:
        for _ in range(3):
            pid = pid_of(running, "suricatta")
            time.sleep(dice.uniform(0.1, 1.5))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            until(lambda pid=pid: pid_of(running, "suricatta") != pid, "another one")  # type: ignore[misc]
        until(
            lambda: installed(unit) and "COMMITTED" in (unit.state / "journal.json").read_text(), "the update"
        )
        assert not any(one.execution == "closed" for one in server.state.told)
        unit.reboot()
        assert unit.confirm().ok
        assert ended(server, action) == "finished"
    assert unit.info()["state"] == "CONFIRMED 2.4.0"


def test_a_download_ends_the_daemon(unit: Unit) -> None:
    with file_serving(unit.image().read_bytes()) as server:
        server.plan = [lambda exchange: exchange.serve(cut_bytes=5000), Exchange.serve]
        with daemon(unit.folder, *unit.options(), "-d", f"-u {server.url} -r 3 -w 0") as running:
            assert running.process.wait(60) == 0
    assert unit.env()["slot"] == "b"
    assert server.ranges[1] == "bytes=5000-"


def test_how_to_fetch_may_be_said_as_for_an_install(unit: Unit, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with file_serving(unit.image().read_bytes(), tls=authority.context()) as server:
        options = [*unit.options(), "--cafile", authority.path("ca.pem"), "--retries", "0"]
        with daemon(unit.folder, *options, "-d", f"-u {server.url}") as running:
            assert running.process.wait(60) == 0, running.text()
    assert unit.env()["slot"] == "b"


def test_a_download_that_fails_ends_the_daemon_with_its_code(unit: Unit) -> None:
    with file_serving(b"") as server:
        server.usual = lambda exchange: exchange.refuse(404)
        with daemon(unit.folder, *unit.options(), "-d", f"-u {server.url} -r 0") as running:
            assert running.process.wait(60) == 50
        assert "404" in running.text()


def test_a_client_names_an_address(unit: Unit) -> None:
    with (
        file_serving(unit.image().read_bytes()) as server,
        daemon(unit.folder, *unit.options(), "-d", "") as running,
    ):
        pid_of(running, "download")
        data = f'{{ "url": "{server.url}" }}'.encode()
        running.client.command(Origin.DOWNLOADER, ChildCommand.SET_DOWNLOAD_URL, data)
        until(
            lambda: installed(unit) and "COMMITTED" in (unit.state / "journal.json").read_text(), "the update"
        )
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("-u", "-S lua", "'lua' is not there"),
        ("-u", "-S hawkbit -z", "unknown option '-z'"),
        ("-d", "-q", "unknown option '-q'"),
    ],
)
def test_words_that_make_no_sense_are_told_at_once(unit: Unit, option: str, text: str, message: str) -> None:
    done = unit.swagent("daemon", *unit.options(), option, text)
    assert done.code == 2 and message in done.text


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca", "unit")


def test_a_client_certificate(unit: Unit, authority: Authority) -> None:
    with serving(tls=authority.context(ask_client=True)) as server:
        action = assigned(server, unit)
        words = f"-S hawkbit -u {server.url} -t default -i {UNIT} -r 0"
        env = {
            "SWAGENT_HAWKBIT_CAFILE": authority.path("ca.pem"),
            "SWAGENT_HAWKBIT_SSLCERT": authority.path("unit.pem"),
            "SWAGENT_HAWKBIT_SSLKEY": authority.path("unit.key"),
        }
        with daemon(unit.folder, *unit.options(), "-u", words, private=False, **env):
            until(lambda: "All Chunks Installed." in action.messages, "the update")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("user", ["", "nobody"])
def test_the_door_has_no_rights_but_what_it_was_given(user: str) -> None:
    """Its key is root's, its ledger and the sockets lie where it may not look, and yet it does its work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unit, authority = Unit(folder), Authority(folder / "ca", "unit")
        assert folder.stat().st_mode & 0o777 == 0o700
        Path(authority.path("unit.key")).chmod(0o600)
        env = {
            "SWAGENT_HAWKBIT_CAFILE": authority.path("ca.pem"),
            "SWAGENT_HAWKBIT_SSLCERT": authority.path("unit.pem"),
            "SWAGENT_HAWKBIT_SSLKEY": authority.path("unit.key"),
            **({"SWAGENT_SURICATTA_USER": user} if user else {}),
        }
        uid = 65534 if user else FIRST_UID
        with serving(tls=authority.context(ask_client=True)) as server:
            action = assigned(server, unit)
            words = ["-u", f"-S hawkbit -u {server.url} -t default -i {UNIT} -r 0"]
            with daemon(folder, *unit.options(), *words, private=False, **env) as running:
                until(lambda: "All Chunks Installed." in action.messages, "the update")
                pid = pid_of(running, "suricatta")
                status = Path(f"/proc/{pid}/status").read_text()
                assert "CapEff:\t0000000000000000" in status
                assert "\t".join(("Uid:", *[str(uid)] * 4)) in status
                assert f"Groups:\t{SOCKETS_GID} \n" in status
                assert "NoNewPrivs:\t1" in status
        assert (unit.state / "suricatta" / "ledger.json").stat().st_uid == uid
        assert (unit.state / "suricatta").stat().st_mode & 0o777 == 0o700
        assert unit.state.stat().st_mode & 0o777 == 0o700
