"""Roles and leases, over the wire."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swagent.errors import SettingsError
from swagent.lab.access import Access
from swagent.lab.auth import Caller
from swagent.lab.client import LabClient
from swagent.lab.config import RoleRule, parse_config
from swagent.lab.errors import NotAllowed, NotNow
from swagent.lab.items import Item, ItemType
from swagent.lab.lab import Lab
from swagent.lab.server import LabServer
from tests.uptane_client.world import TestClock

from .labs import SERVER, Board, Keys, eventually, serving, using
from .test_service import DISK_BYTES, configuration
from .test_transport import VOLUMES

ROLES = """
  roles:
    - { verbs: [list] }
    - { claim: groups, value: watchers, verbs: [watch, read] }
    - { claim: groups, value: testers, verbs: [watch, type, power, read, write, lease] }
    - { claim: sub, value: boss, verbs: [take, lease, power] }
    - { claim: sub, value: robot, match: { boardswarm.name: relay }, verbs: [power] }
"""
TESTERS = ["staff", "testers"]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def server(tmp_path: Path, keys: Keys) -> Iterator[LabServer]:
    board = Board()
    (tmp_path / "disk.img").write_bytes(bytes(DISK_BYTES))
    (tmp_path / "rom.img").write_bytes(b"rom" * 1000)
    text = configuration(tmp_path, board).replace("path: keys.json\n", f"path: keys.json{ROLES}")
    with serving(tmp_path, text) as (server, _):
        eventually(server.lab.consoles.items)
        board.say(b"hello\n")
        yield server
    board.unplug()


def everything(client: LabClient) -> dict[str, bool]:
    """What a caller may do with the board."""
    eventually(lambda: client.items(ItemType.CONSOLE) and client.items(ItemType.VOLUME))
    calls: dict[str, Callable[[], object]] = {
        "watch": lambda: next(client.output(0, replay=True)),
        "type": lambda: client.type(0, [b"x"]),
        "configure": lambda: client.configure(0, {}),
        "mode": lambda: client.change_mode(0, "off"),
        "actuator": lambda: client.change_actuator(0, {"mode": "off"}),
        "read": lambda: client.read(0, "emmc", io.BytesIO(), length_bytes=1),
        "write": lambda: client.write(0, "emmc", io.BytesIO(b"x")),
        "commit": lambda: client.commit(0),
    }
    return {name: _may(call) for name, call in calls.items()}


def _may(call: Callable[[], object]) -> bool:
    try:
        call()
    except (NotAllowed, NotNow):
        return False
    return True


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({}, ""),
        ({"groups": "watchers"}, "watch read"),
        ({"groups": ["watchers"]}, "watch read"),
        ({"groups": "watchersx"}, ""),
        ({"groups": TESTERS}, "watch type configure mode actuator read write commit"),
        ({"sub": "boss"}, "mode actuator"),
        ({"sub": "robot"}, "actuator"),
    ],
)
def test_roles(server: LabServer, keys: Keys, claims: dict[str, object], allowed: str) -> None:
    with using(server, keys.token(None, **{"sub": "x", **claims})) as client:
        assert {name for name, may in everything(client).items() if may} == set(allowed.split())


def test_a_lease_keeps_a_board_for_one(server: LabServer, keys: Keys) -> None:
    with (
        using(server, keys.token(sub="alice", groups=TESTERS)) as alice,
        using(server, keys.token(sub="bob", groups=TESTERS)) as bob,
        using(server, keys.token(sub="boss")) as boss,
    ):
        eventually(lambda: next(alice.device(0)).consoles["main"] == 0)
        assert alice.lease(0, seconds=600, reason="kernel 6.12")[:2] == ("alice", "kernel 6.12")
        seen = bob.properties(ItemType.DEVICE, 0)
        assert (seen["swagent.lease.owner"], seen["swagent.lease.reason"]) == ("alice", "kernel 6.12")
        assert seen["swagent.lease.until"].endswith("Z")
        assert {name for name, may in everything(bob).items() if may} == {"watch", "read"}
        assert all(everything(alice).values())
        with pytest.raises(NotNow, match=r"leased to alice until .*Z"):
            bob.lease(0, seconds=1)
        with pytest.raises(NotAllowed, match="bob may not take board"):
            bob.lease(0, seconds=1, force=True)
        with pytest.raises(NotNow):
            bob.release(0)
        assert boss.lease(0, seconds=600, force=True)[0] == "boss"
        assert not everything(alice)["write"]
        boss.release(0)
        assert all(everything(bob).values())
        assert "swagent.lease.owner" not in bob.properties(ItemType.DEVICE, 0)


def test_a_lease_belongs_to_who_one_is_and_not_to_a_name(server: LabServer, keys: Keys) -> None:
    """Names may be chosen, and two issuers may each have an alice."""
    with (
        using(server, keys.token(sub="a-1", preferred_username="alice", groups=["testers"])) as alice,
        using(server, keys.token(sub="a-2", preferred_username="alice", groups=["testers"])) as other,
        using(
            server, keys.token(sub="a-1", iss="elsewhere", preferred_username="alice", groups=["testers"])
        ) as far,
    ):
        assert alice.lease(0, seconds=600)[0] == "alice"
        for client in (other, far):
            with pytest.raises(NotNow, match="leased to alice"):
                client.release(0)
        alice.release(0)


def test_who_loses_a_lease_types_no_more(server: LabServer, keys: Keys) -> None:
    with (
        using(server, keys.token(sub="alice", groups=TESTERS)) as alice,
        using(server, keys.token(sub="boss")) as boss,
    ):
        eventually(lambda: next(alice.device(0)).consoles["main"] == 0)
        alice.lease(0, seconds=600)

        def typing() -> Iterator[bytes]:
            yield b"a"
            boss.lease(0, seconds=600, force=True)
            for _ in range(1000):
                yield b"b"

        with pytest.raises(NotNow, match="leased to boss"):
            alice.type(0, typing())


def test_a_lease_ends_by_itself() -> None:
    from swagent.lab.config import DeviceRule
    from swagent.lab.devices import Device

    clock, lab = TestClock(), Lab()
    access = Access(None, lab, clock, str)
    device = Device(
        DeviceRule("board", (), (), ()),
        consoles=lab.consoles, volumes=lab.volumes, actuators=lab.actuators, log=print,
    )  # fmt: skip
    item: Item[object] = lab.devices.add({"boardswarm.name": "board"}, device)  # type: ignore[assignment]
    access.take(Caller({"sub": "alice"}), item, seconds=60, reason="", force=False)
    assert access.lease(item.number) is not None
    clock.passes(61)
    assert access.lease(item.number) is None
    access.take(Caller({"sub": "bob"}), item, seconds=60, reason="", force=False)


@pytest.mark.parametrize(
    "role", ["{ }", "{ verbs: [fly] }", "{ verbs: list }", "{ claim: a, verbs: [list] }", "5"]
)
def test_roles_that_make_no_sense(role: str) -> None:
    text = f"{SERVER}  roles: [ {role} ]\nproviders: []\ndevices: []\n"
    with pytest.raises(SettingsError, match="roles"):
        parse_config(text.encode(), "lab.yaml")


def test_a_role_without_a_claim_is_everybody_s() -> None:
    text = f"{SERVER}  roles: [ {{ verbs: [list] }} ]\nproviders: []\ndevices: []\n"
    assert parse_config(text.encode(), "lab.yaml").server.roles == (RoleRule("", "", {}, ("list",)),)


def test_who_may_not_list_sees_nothing(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "disk.img").write_bytes(b"x")
    roles = "  roles: [ { claim: sub, value: alice, verbs: [list] } ]\n"
    with serving(tmp_path, SERVER.rstrip() + "\n" + roles + VOLUMES) as (server, _):
        with using(server, keys.token(sub="alice")) as alice:
            assert eventually(lambda: alice.items(ItemType.VOLUME))
            assert next(alice.monitor(ItemType.VOLUME))[0]
        with using(server, keys.token(sub="bob")) as bob:
            assert bob.items(ItemType.VOLUME) == []
            assert next(bob.monitor(ItemType.VOLUME)) == ([], None)
            for call in (lambda: bob.properties(ItemType.VOLUME, 0), lambda: bob.targets(0)):
                with pytest.raises(NotAllowed):
                    call()
