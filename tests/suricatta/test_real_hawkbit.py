"""The same stories with our small hawkBit and with the real one: so ours is faithful, and the client right.

The real one is built by ``tools/hawkbit-server/build``; HAWKBIT_SERVER_JAR may name its jar, or that of another one
with the same interfaces, HAWKBIT_SERVER_URL one that runs already and may be played with.
"""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import DeviceError, SwagentError
from swagent.testing.hawkbit import serving
from tests.programs import PROJECT

from .bench import Unit
from .management import Management

SWU, OTHER = (random.Random(seed).randbytes(500_000) for seed in (21, 22))
JAR = Path(os.environ.get("HAWKBIT_SERVER_JAR", PROJECT / "tools/hawkbit-server/target/hawkbit-server.jar"))
TOKEN = "bH7XXAprK1ChnLfKSdtlsp7NOlPnZAYY"
START_S = 600


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    """The real one, started once."""
    running = os.environ.get("HAWKBIT_SERVER_URL")
    if running:
        yield _prepared(Management(running))
        return
    if shutil.which("java") is None or not JAR.exists():
        pytest.skip("needs Java and hawkBit's server: tools/hawkbit-server/build")
    folder = tmp_path_factory.mktemp("hawkbit")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            ["java", "-jar", str(JAR), f"--server.port={port}",
             f"--org.eclipse.hawkbit.repository.file.path={folder}/artifacts"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            management = Management(f"http://localhost:{port}")
            _wait(management, server)
            yield _prepared(management)
        finally:
            server.terminate()
            server.wait(60)


def _prepared(management: Management) -> Management:
    management.call("PUT", "system/configs/authentication.targettoken.enabled", {"value": True})
    return management


def _wait(management: Management, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(START_S):
        assert server.poll() is None, "hawkBit ended"
        try:
            management.call("GET", "targets")
        except (OSError, AssertionError):
            time.sleep(1)
        else:
            return
    raise AssertionError("hawkBit does not start")


@pytest.fixture(params=["ours", pytest.param("real", marks=pytest.mark.slow)])
def management(request: pytest.FixtureRequest) -> Iterator[Management]:
    if request.param == "real":
        yield request.getfixturevalue("real")
        return
    with serving() as server:
        yield Management(server.url)


@pytest.fixture
def unit(management: Management, tmp_path: Path, request: pytest.FixtureRequest) -> Unit:
    name = f"{request.node.originalname}-{os.urandom(3).hex()}"
    management.add_target(name, TOKEN)
    found = Unit(tmp_path, management.url, more={"targettoken": TOKEN, "id": name})
    found.installer.lines = 2
    return found


def name_of(unit: Unit) -> str:
    return str(unit.more["id"])


def version() -> str:
    return os.urandom(4).hex()


def test_success_when_it_is_confirmed(management: Management, unit: Unit) -> None:
    unit.identify = (("board", "gateway"), ("serial", "7"))
    action = management.assign(name_of(unit), management.add_set(version(), {"update.swu": SWU}))
    unit.start().step()
    assert unit.installer.whole == [SWU]
    assert management.call("GET", f"targets/{name_of(unit)}/attributes") == {
        "board": "gateway",
        "serial": "7",
    }
    unit.start().step()
    assert management.state(name_of(unit), action) == "pending"
    kinds = [(kind, messages[-1]) for kind, messages in management.history(name_of(unit), action) if messages]
    assert ("running", "All Chunks Installed.") in kinds
    assert ("running", "Update Installed, Testing Pending.") in kinds
    unit.installer.confirm()
    unit.start().step()
    assert management.state(name_of(unit), action) == "finished"
    kind, messages = management.history(name_of(unit), action)[0]
    assert (kind, "Update Installed." in messages) == ("finished", True)


def test_two_modules(management: Management, unit: Unit) -> None:
    set_id = management.add_set(version(), {"a.swu": SWU}, {"b.swu": OTHER})
    action = management.assign(name_of(unit), set_id, "soft")
    unit.installer.reboots = False
    unit.start().step()
    assert sorted(unit.installer.whole) == sorted([SWU, OTHER])
    assert management.state(name_of(unit), action) == "finished"


def test_failure(management: Management, unit: Unit) -> None:
    action = management.assign(name_of(unit), management.add_set(version(), {"update.swu": SWU}))
    unit.installer.failure = DeviceError("cannot write /dev/x", path="/dev/x")
    unit.start().step()
    kind, messages = management.history(name_of(unit), action)[0]
    assert kind == "error" and "cannot write /dev/x" in messages


def test_cancelled_before(management: Management, unit: Unit) -> None:
    action = management.assign(name_of(unit), management.add_set(version(), {"update.swu": SWU}))
    management.cancel(name_of(unit), action)
    backend = unit.start()
    backend.step()
    backend.step()
    assert not unit.installer.requests
    assert management.history(name_of(unit), action)[0][0] == "canceled"
    assert management.state(name_of(unit), action) == "finished"


def test_cancelled_meanwhile(management: Management, unit: Unit) -> None:
    action = management.assign(name_of(unit), management.add_set(version(), {"update.swu": SWU}))

    def cancel(done: int) -> None:
        if done == 200_000:
            management.cancel(name_of(unit), action)
            time.sleep(1.1)

    unit.installer.during = cancel
    unit.start().step()
    assert not unit.installer.whole
    assert management.history(name_of(unit), action)[0][0] == "canceled"


def test_cancelled_too_late(management: Management, unit: Unit) -> None:
    action = management.assign(name_of(unit), management.add_set(version(), {"update.swu": SWU}))
    unit.start().step()
    management.cancel(name_of(unit), action)
    unit.start().step()
    assert management.state(name_of(unit), action) == "pending"
    unit.installer.confirm()
    backend = unit.start()
    backend.step()
    backend.step()
    assert management.history(name_of(unit), action)[0][0] == "finished"


def test_download_only(management: Management, unit: Unit) -> None:
    action = management.assign(
        name_of(unit), management.add_set(version(), {"update.swu": SWU}), "downloadonly"
    )
    unit.keep = str(unit.folder / "kept")
    unit.start().step()
    assert (unit.folder / "kept" / "update.swu").read_bytes() == SWU
    assert management.history(name_of(unit), action)[0][0] == "downloaded"
    unit.start().step()
    assert len(list((unit.folder / "kept").iterdir())) == 1


def test_a_maintenance_window_far_away(management: Management, unit: Unit) -> None:
    window = {"schedule": "0 0 3 1 1 ? 2090", "duration": "01:00:00", "timezone": "+00:00"}
    set_id = management.add_set(version(), {"update.swu": SWU})
    action = management.assign(name_of(unit), set_id, maintenanceWindow=window)
    unit.start().step()
    unit.start().step()
    assert not unit.installer.requests
    assert management.state(name_of(unit), action) == "pending"
    messages = [message for _, messages in management.history(name_of(unit), action) for message in messages]
    assert messages.count("Waiting for the maintenance window.") == 1


def test_a_wrong_token(management: Management, unit: Unit) -> None:
    unit.more["targettoken"] = "wrong"
    with pytest.raises(SwagentError, match="401"):
        unit.start().step()
