"""The hawkBit client against a hawkBit: what each state of the server and of the unit leads to."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import Busy, Cancelled, DeviceError, SettingsError, SwagentError, TransportError
from swagent.suricatta.api import Known, Order
from swagent.suricatta.ledger import Ledger
from swagent.testing.hawkbit import Action, serving
from swagent.testing.hawkbit import Hawkbit as Server

from .bench import DeskInstaller, Unit

SWU, OTHER = (random.Random(seed).randbytes(700_000) for seed in (1, 2))
TARGET = "unit%201"
FILES = {"update.swu": SWU}
INSTALLED = [
    ("none", "proceeding", "Installing Update Chunk Artifacts."),
    ("none", "proceeding", "line 0"),
    ("none", "proceeding", "Installed Chunk."),
    ("none", "proceeding", "All Chunks Installed."),
]
TESTING = ("none", "proceeding", "Update Installed, Testing Pending.")
GOOD = ("success", "closed", "Update Installed.")
BAD = ("failure", "closed", "Update Failed.")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def unit(tmp_path: Path, server: Server) -> Unit:
    return Unit(tmp_path, server.url)


def told(server: Server, kind: str = "deployment") -> list[tuple[str, str, str]]:
    """Feedback: finished, execution, first detail."""
    return [(one.finished, one.execution, one.details[0]) for one in server.state.told if one.kind == kind]


def ledger(unit: Unit) -> Ledger:
    return Ledger(str(unit.folder / "state" / "ledger.json"))


def asked(server: Server, word: str) -> list[tuple[str, str, dict[str, str]]]:
    return [request for request in server.state.requests if word in request[1]]


# -- the usual way


@pytest.mark.parametrize("type_", ["forced", "soft"])
def test_success_is_told_when_the_update_is_confirmed_and_not_before(
    server: Server, unit: Unit, type_: str
) -> None:
    action = server.state.assign(TARGET, FILES, type_=type_)
    backend = unit.start()
    backend.step()
    assert unit.installer.whole == [SWU]
    assert told(server) == INSTALLED
    request = unit.installer.requests[0]
    assert (request.name, request.length_bytes, request.origin) == ("update.swu", len(SWU), "suricatta")
    assert json.loads(request.info)["id"] == str(action.number)
    assert set(request.hashes) == {"sha256", "sha1", "md5"}
    backend.step()
    unit.start().step()
    unit.start().step()
    assert told(server) == [*INSTALLED, TESTING]
    assert action.status == "running"
    unit.installer.confirm()
    backend = unit.start()
    backend.step()
    backend.step()
    assert told(server) == [*INSTALLED, TESTING, GOOD]
    assert action.status == "finished"
    assert len(unit.installer.whole) == 1
    assert ledger(unit).entry is None


def test_where_nothing_is_to_be_tested_success_is_told_at_once(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.installer.reboots = False
    unit.start().step()
    assert told(server) == [*INSTALLED, GOOD]
    assert action.status == "finished"


def test_an_update_that_is_rolled_back_has_failed(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.start().step()
    unit.installer.roll_back()
    unit.start().step()
    assert told(server)[-1] == BAD
    assert server.state.told[-1].details[1] == "check network: ended with status 1"
    assert action.status == "error"
    unit.start().step()
    assert len(unit.installer.requests) == 1


def test_an_update_that_another_came_after_has_an_unknown_end(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.start().step()
    unit.installer.states = {"by hand": Known("CONFIRMED")}
    unit.start().step()
    assert action.status == "error"
    assert "is not known" in server.state.told[-1].details[1]


def test_a_failure_tells_what_the_installer_said(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.installer.failure = DeviceError("cannot write /dev/x: No space", path="/dev/x", hint="make room")
    unit.start().step()
    last = server.state.told[-1]
    assert (last.finished, last.execution) == ("failure", "closed")
    assert last.details == ["the disk is full", "cannot write /dev/x: No space (make room)"]
    assert action.status == "error"
    assert len(unit.installer.requests) == 1


def test_a_busy_installer_costs_no_attempt(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.installer.busy = True
    backend = unit.start()
    for _ in range(9):
        with pytest.raises(Busy):
            backend.step()
    unit.installer.busy = False
    backend.step()
    assert unit.installer.whole == [SWU]


def test_nothing_begins_over_an_update_that_is_not_confirmed(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.installer.states = {"by hand": Known("COMMITTED")}
    backend = unit.start()
    backend.step()
    backend.step()
    assert not unit.installer.requests and not server.state.told
    assert sum("not confirmed yet" in line for _, line in unit.log) == 1
    unit.installer.confirm()
    backend.step()
    assert unit.installer.whole == [SWU]


def test_the_log_comes_in_batches(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.installer.lines = 100
    unit.start().step()
    lines = [one.details for one in server.state.told if one.details[0].startswith("line ")]
    assert [len(batch) for batch in lines] == [48, 48, 4]


def test_a_message_has_the_form_that_hawkbit_wants(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.start().step()
    body = server.state.told[0].body
    assert body["id"] == server.state.told[0].action
    assert len(body["time"]) == 15 and body["time"][8] == "T"
    assert body["status"]["result"]["progress"] == {"cnt": 0, "of": 1}
    assert server.state.told[-1].body["status"]["result"]["progress"] == {"cnt": 1, "of": 1}


# -- several archives


def test_chunks_are_installed_in_order(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES, {"b.swu": OTHER, "c.swu": SWU})
    unit.installer.reboots, unit.installer.lines = False, 0
    unit.start().step()
    assert unit.installer.whole == [SWU, OTHER, SWU]
    progress = [one.body["status"]["result"]["progress"]["cnt"] for one in server.state.told]
    assert progress == [0, 1, 1, 2, 2, 0]
    assert action.status == "finished"
    assert len({request.correlation_id for request in unit.installer.requests}) == 3


def test_what_follows_waits_until_what_came_before_is_confirmed(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES, {"b.swu": OTHER})
    unit.start().step()
    unit.start().step()
    assert unit.installer.whole == [SWU]
    unit.installer.confirm()
    unit.start().step()
    assert unit.installer.whole == [SWU, OTHER]
    assert action.status == "running"
    unit.installer.confirm()
    unit.start().step()
    assert action.status == "finished"
    assert told(server).count(GOOD) == 1


def test_chunks_of_deltas_are_announced(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, {"rootfs.zck": b"z", **FILES})
    unit.start().step()
    ((word, name, url),) = unit.installer.commands
    assert (word, name) == ("announce", "rootfs.zck") and url.endswith("/rootfs.zck")
    assert unit.installer.whole == [SWU]


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        ([{"notes.txt": b"x", **FILES}], "neither a .swu image"),
        ([FILES, {"only.zck": b"x"}], "No suitable .swu image found in module1"),
        ([], "No suitable .swu image found"),
    ],
)
def test_what_cannot_be_installed_is_refused_before_anything_is(
    server: Server, unit: Unit, modules: list[dict[str, bytes]], why: str
) -> None:
    action = server.state.assign(TARGET, *modules)
    unit.start().step()
    assert why in server.state.told[-1].details[0]
    assert action.status == "error"
    assert not unit.installer.requests


# -- what the server promises of a file


def change_file(action: Action, **changes: object) -> None:
    action.modules[0]["files"][0].update(changes)


@pytest.mark.parametrize(
    "hashes",
    [{"sha256": "0" * 64}, {"sha1": "0" * 40}, {"md5": "0" * 32}],
    ids=lambda hashes: next(iter(hashes)),
)
def test_a_file_that_is_not_what_was_promised_is_never_whole(
    server: Server, unit: Unit, hashes: dict[str, str]
) -> None:
    action = server.state.assign(TARGET, FILES)
    change_file(action, hashes=hashes)
    unit.start().step()
    assert not unit.installer.whole
    assert action.status == "error"
    assert "is not what was promised" in server.state.told[-1].details[-1]


def test_the_strongest_hash_counts(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    good = action.modules[0]["files"][0]["hashes"]
    change_file(action, hashes={**good, "sha1": "0" * 40})
    unit.start().step()
    assert unit.installer.whole == [SWU]


@pytest.mark.parametrize("size", [0, len(SWU) - 1, len(SWU) + 1, 2**40])
def test_a_file_of_another_size_is_never_whole(server: Server, unit: Unit, size: int) -> None:
    action = server.state.assign(TARGET, FILES)
    change_file(action, size=size)
    unit.start().step()
    assert not unit.installer.whole
    assert action.status == "error"


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": "7"},
        {"size": True},
        {"hashes": {}},
        {"hashes": {"sha256": "short"}},
        {"hashes": None},
        {"filename": "../../etc/passwd.swu"},
        {"filename": ".hidden.swu"},
        {"filename": ""},
        {"filename": "x" * 1000 + ".swu"},
    ],
    ids=str,
)
def test_promises_that_make_no_sense_are_told(server: Server, unit: Unit, changes: dict[str, object]) -> None:
    action = server.state.assign(TARGET, FILES)
    change_file(action, **changes)
    unit.start().step()
    assert action.status == "error"
    assert not unit.installer.requests


def test_a_download_that_breaks_goes_on_where_it_was(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)

    def cut(handler):  # type: ignore[no-untyped-def]  # one of the server's own
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(SWU)))
        handler.send_header("ETag", '"' + server_etag() + '"')
        handler.end_headers()
        handler.wfile.write(SWU[:400_000])
        handler.close_connection = True
        return True

    def server_etag() -> str:
        import hashlib

        return hashlib.sha256(SWU).hexdigest()[:40]

    server.state.faults["artifact"] = [cut]
    unit.start().step()
    assert unit.installer.whole == [SWU]
    assert [headers.get("range") for _, _, headers in asked(server, "artifacts")] == [None, "bytes=400000-"]


def test_a_file_that_cannot_be_had_is_tried_again_and_then_given_up(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    server.state.files.clear()
    backend = unit.start()
    for _ in range(4):
        with pytest.raises(TransportError):
            backend.step()
        assert action.status == "running"
    backend.step()
    assert action.status == "error"
    assert "404" in server.state.told[-1].details[-1]


def test_the_front_of_a_file_that_is_here_is_not_fetched(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    cache = unit.folder / "front"
    cache.write_bytes(SWU[:500_000])
    unit.words = {"cache": str(cache)}
    unit.start().step()
    assert unit.installer.whole == [SWU]
    assert [headers.get("range") for _, _, headers in asked(server, "artifacts")][-1] == "bytes=500000-"
    assert not cache.exists()


def test_a_front_of_another_file_is_forgotten(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    cache = unit.folder / "front"
    cache.write_bytes(OTHER[:500_000])
    unit.words = {"cache": str(cache)}
    backend = unit.start()
    with pytest.raises(TransportError, match="forgotten"):
        backend.step()
    assert action.status == "running" and not unit.installer.whole
    backend.step()
    assert unit.installer.whole == [SWU]


# -- not now, or not at all


def test_a_maintenance_window_is_waited_for(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES, window=False)
    unit.start().step()
    unit.start().step()
    assert told(server) == [("none", "scheduled", "Waiting for the maintenance window.")]
    assert not asked(server, "artifacts")
    action.window = True
    unit.start().step()
    assert unit.installer.whole == [SWU]


def test_what_is_to_be_skipped_is_closed(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    server.state.faults["deploymentBase"] = [
        lambda handler: handler.reply(
            200,
            {
                "id": str(action.number),
                "deployment": {"download": "skip", "update": "skip", "chunks": []},
            },
        )
    ]
    unit.start().step()
    assert told(server) == [("success", "closed", "Skipped Update.")]
    assert not unit.installer.requests


def test_download_only_keeps_the_file(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES, type_="downloadonly")
    unit.keep = str(unit.folder / "kept")
    unit.start().step()
    assert (unit.folder / "kept" / "update.swu").read_bytes() == SWU
    assert told(server) == [("success", "downloaded", "Downloaded.")]
    assert action.status == "finished" and not unit.installer.requests


def test_download_only_keeps_nothing_that_is_wrong(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES, type_="downloadonly")
    change_file(action, hashes={"sha256": "0" * 64})
    unit.keep = str(unit.folder / "kept")
    unit.start().step()
    assert list((unit.folder / "kept").iterdir()) == []
    assert action.status == "error"


def test_download_only_is_refused_by_a_unit_that_keeps_nothing(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES, type_="downloadonly")
    unit.start().step()
    assert action.status == "error"
    assert "download-directory" in server.state.told[-1].details[0]


# -- cancelling


def test_cancelled_before_it_began(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    server.state.cancel(action)
    unit.start().step()
    assert told(server, "cancel") == [("success", "closed", "cancellation acknowledged.")]
    assert action.status == "canceled" and not unit.installer.requests
    body = server.state.told[-1].body
    assert body["id"] == action.number and "progress" not in body["status"]["result"]


def test_cancelled_while_it_is_downloaded(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    backend = unit.start()
    backend.order(Order(1, b'{"polling": 1}'))
    unit.installer.during = lambda done: _slow_cancel(server, action, done)
    backend.step()
    assert not unit.installer.whole
    assert told(server, "cancel") == [("success", "closed", "cancellation acknowledged.")]
    assert action.status == "canceled"
    assert ledger(unit).entry is None


def _slow_cancel(server: Server, action: Action, done: int) -> None:
    import time

    if done == 200_000:
        server.state.cancel(action)
        time.sleep(1.05)  # longer than the polling interval, which is when the server is asked again


def test_an_action_that_is_closed_by_force_is_dropped(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    backend = unit.start()
    backend.order(Order(1, b'{"polling": 1}'))

    def close(done: int) -> None:
        import time

        if done == 200_000:
            action.status = "canceled"
            time.sleep(1.05)

    unit.installer.during = close
    backend.step()
    assert not unit.installer.whole and ledger(unit).entry is None
    backend.step()
    assert len(unit.installer.requests) == 1


def test_too_late_to_cancel_while_the_last_bytes_are_written(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    backend = unit.start()
    backend.order(Order(1, b'{"polling": 1}'))

    def late(done: int) -> None:
        import time

        if done == len(SWU):
            server.state.cancel(action)
            time.sleep(1.05)

    unit.installer.during = late
    backend.step()
    assert unit.installer.whole == [SWU]
    assert [one[:2] for one in told(server, "cancel")] == [("none", "rejected")]
    unit.installer.confirm()
    backend.step()
    assert action.status == "finished"


def test_too_late_to_cancel_what_is_installed(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.start().step()
    server.state.cancel(action)
    unit.start().step()
    assert [one[:2] for one in told(server, "cancel")] == [("none", "rejected")]
    assert action.status == "running"
    unit.installer.confirm()
    unit.start().step()
    assert action.status == "finished"


def test_the_next_action_begins_when_the_first_is_cancelled(server: Server, unit: Unit) -> None:
    first = server.state.assign(TARGET, FILES)
    server.state.cancel(first)
    second = server.state.assign(TARGET, {"other.swu": OTHER})
    backend = unit.start()
    backend.step()
    backend.step()
    assert unit.installer.whole == [OTHER]
    assert (first.status, second.status) == ("canceled", "running")


def test_somebody_on_the_unit_stops_it(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.installer.failure = Cancelled("stopped")
    unit.start().step()
    assert action.status == "error"


# -- polling and identity


def test_the_server_says_how_often_it_is_asked(server: Server, unit: Unit) -> None:
    server.state.sleep = "01:02:03"
    backend = unit.start()
    assert 0.94 * 3723 < backend.step() < 1.06 * 3723
    server.state.sleep = "00:00:00"
    assert 0.94 * 45 < backend.step() < 1.06 * 45
    backend.order(Order(1, b'{"polling": "7"}'))
    assert 6 < backend.step() < 8
    backend.order(Order(1, b'{"polling": 0}'))
    assert backend.step() > 40


@pytest.mark.parametrize(
    "tree",
    [
        {},
        [],
        {"config": {}},
        {"config": {"polling": {"sleep": "soon"}}},
        {"config": {"polling": {"sleep": 5}}},
        {"config": {"polling": {"sleep": "00:00:01"}}, "_links": []},
        {"config": {"polling": {"sleep": "00:00:01"}}, "_links": {"deploymentBase": {"href": "file:///x"}}},
        {"config": {"polling": {"sleep": "00:00:01"}}, "_links": {"cancelAction": {}}},
    ],
    ids=str,
)
def test_a_poll_that_makes_no_sense_is_an_error(server: Server, unit: Unit, tree: object) -> None:
    server.state.faults["poll"] = [lambda handler: handler.reply(200, tree)]
    backend = unit.start()
    with pytest.raises(TransportError):
        backend.step()
    assert _status(backend) == 10


def _status(backend) -> int:  # type: ignore[no-untyped-def]  # a Hawkbit
    reply = backend.order(Order(3, b""))
    assert reply.is_ack and not reply.tells_length
    tree = json.loads(reply.data)
    assert tree["server"]["time"][10] == "T"
    return int(tree["server"]["status"])


@pytest.mark.parametrize(
    ("status", "number"),
    [(401, 4), (403, 4), (404, 11), (429, 8), (500, 10), (503, 4), (400, 10), (302, 12)],
)
def test_the_result_of_the_last_poll_is_told(server: Server, unit: Unit, status: int, number: int) -> None:
    server.state.faults["poll"] = [lambda handler: handler.reply(status)]
    backend = unit.start()
    assert _status(backend) == 15
    with pytest.raises(SwagentError):
        backend.step()
    assert _status(backend) == number
    backend.step()
    assert _status(backend) == 0
    server.stop()
    with pytest.raises(TransportError):
        backend.step()
    assert _status(backend) == 2


def test_identity_goes_before_a_deployment_and_whenever_it_is_asked_for(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.identify = (("board", 'gate"way'), ("serial", "7"))
    backend = unit.start()
    backend.step()
    assert server.state.attributes == {TARGET: {"board": 'gate"way', "serial": "7"}}
    assert unit.installer.whole == [SWU]
    backend.step()
    assert len(asked(server, "configData")) == 1
    server.state.attributes.clear()
    backend.step()
    backend.order(Order(1, b'{"identify": [{"name": "serial", "value": "8"}, {"name": 1}, 2]}'))
    backend.step()
    assert server.state.attributes[TARGET]["serial"] == "8"
    assert len(asked(server, "configData")) == 3


def test_without_attributes_nothing_is_told(server: Server, unit: Unit) -> None:
    unit.start().step()
    assert not asked(server, "configData")


def test_a_server_that_wants_no_identity_stops_nothing(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    server.state.faults["configData"] = [lambda handler: handler.reply(400)]
    unit.identify = (("board", "gateway"),)
    unit.start().step()
    assert unit.installer.whole == [SWU]


# -- who we are


@pytest.mark.parametrize("key", ["targettoken", "gatewaytoken"])
def test_tokens_are_shown(server: Server, unit: Unit, key: str) -> None:
    server.state.tokens[TARGET] = "secret"
    server.state.gateway_token = "secret"
    server.state.assign(TARGET, FILES)
    with pytest.raises(TransportError, match="401"):
        unit.start().step()
    unit.more = {key: "secret"}
    unit.start().step()
    word = {"targettoken": "TargetToken", "gatewaytoken": "GatewayToken"}[key]
    assert asked(server, "artifacts")[0][2]["authorization"] == f"{word} secret"
    assert unit.installer.whole == [SWU]


def test_downloads_may_go_without_the_token(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.more = {"targettoken": "secret", "usetokentodwl": False}
    with pytest.raises(SwagentError):
        server.state.tokens["another"] = "x"
        unit.start().step()
    assert "authorization" not in (asked(server, "artifacts") or [("", "", {})])[0][2]


@pytest.mark.parametrize(
    "more",
    [{"targettoken": "a", "gatewaytoken": "b"}, {"url": ""}, {"tenant": ""}, {"id": ""}],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(unit: Unit, more: dict[str, str]) -> None:
    unit.more = more
    with pytest.raises(SettingsError):
        unit.start()


# -- what is said of the last update at the start


@pytest.mark.parametrize("how", ["word", "boot environment"])
@pytest.mark.parametrize(("state", "last"), [("2", GOOD), ("3", BAD)])
def test_an_update_of_before_is_told_by_its_state(
    server: Server, unit: Unit, how: str, state: str, last: tuple[str, str, str]
) -> None:
    """As after a move from SWUpdate: nobody here began it."""
    server.state.assign(TARGET, FILES)
    if how == "word":
        unit.words = {"state": state}
    else:
        unit.installer.state = state
    backend = unit.start()
    backend.step()
    assert told(server) == [last]
    assert unit.installer.state == "0"
    assert not unit.installer.requests
    backend.step()
    assert len(server.state.told) == 1


def test_without_an_open_action_nothing_is_told(server: Server, unit: Unit) -> None:
    unit.words = {"state": "2"}
    unit.start().step()
    assert server.state.told == []


def test_state_1_says_that_an_update_is_being_tested(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.words = {"state": "1"}
    backend = unit.start()
    backend.step()
    backend.step()
    assert told(server) == [TESTING]
    assert not unit.installer.requests
    unit.words = {"state": "2"}
    unit.start().step()
    assert told(server) == [TESTING, GOOD]


@pytest.mark.parametrize("state", ["0", "1", "4", "5", "6", "7"])
def test_other_states_of_the_boot_environment_say_nothing(server: Server, unit: Unit, state: str) -> None:
    server.state.assign(TARGET, FILES)
    unit.installer.state = state
    unit.start().step()
    assert unit.installer.whole == [SWU]


def test_the_word_goes_before_the_journal(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.start().step()
    unit.words = {"state": "3"}
    unit.start().step()
    assert told(server)[-1] == BAD


def test_state_6_waits_for_somebody_to_tell(server: Server, unit: Unit) -> None:
    action = server.state.assign(TARGET, FILES)
    unit.start().step()
    unit.installer.confirm()
    unit.words = {"state": "6"}
    server.state.sleep = "00:01:40"
    backend = unit.start()
    assert 9 < backend.step() < 11
    assert told(server) == INSTALLED
    order = {
        "id": str(action.number),
        "status": "2",
        "finished": "success",
        "execution": "closed",
        "details": ["ok"],
    }
    assert backend.order_between(Order(0, json.dumps(order).encode())).is_ack
    assert action.status == "finished" and told(server)[-1] == ("success", "closed", "ok")
    assert backend.step() > 90


# -- orders of local clients


@pytest.mark.parametrize(
    ("change", "ack", "is_told"),
    [
        ({}, True, True),
        ({"id": "0"}, True, True),
        ({"id": 0}, True, True),
        ({"id": "999"}, True, False),
        ({"status": "8"}, False, False),
        ({"finished": "maybe"}, False, False),
        ({"execution": "downloaded"}, False, False),
        ({"details": "text"}, False, False),
        ({"details": [1]}, False, False),
        ({"details": None}, False, False),
    ],
    ids=str,
)
def test_activation(server: Server, unit: Unit, change: dict[str, object], ack: bool, is_told: bool) -> None:
    action = server.state.assign(TARGET, FILES)
    backend = unit.start()
    order = {
        "id": str(action.number),
        "status": "1",
        "finished": "success",
        "execution": "closed",
        "details": ["done"],
    }
    reply = backend.order_between(Order(0, json.dumps(order | change).encode()))
    assert reply.is_ack is ack
    assert bool(server.state.told) is is_told


def test_activation_needs_the_server(server: Server, unit: Unit) -> None:
    backend = unit.start()
    server.stop()
    order = b'{"status": "1", "finished": "success", "execution": "closed", "details": []}'
    assert backend.order(Order(0, order)) is None
    assert backend.order_between(Order(0, order)).is_ack is False


def test_other_orders_are_refused(unit: Unit) -> None:
    backend = unit.start()
    assert backend.order(Order(1, b"{")).is_ack is False  # type: ignore[union-attr]  # it answers
    assert backend.order(Order(1, b"[]")).is_ack is True  # type: ignore[union-attr]  # likewise
    assert backend.order_between(Order(4, b"{}")).is_ack is False


# -- the ledger


def test_a_ledger_of_another_server_is_forgotten(server: Server, unit: Unit) -> None:
    server.state.assign(TARGET, FILES)
    unit.start().step()
    with serving() as other:
        unit.url = other.url
        unit.installer = DeskInstaller()
        other.state.assign(TARGET, {"other.swu": OTHER})
        unit.start().step()
        assert unit.installer.whole == [OTHER]
        assert not any(one[1] == "closed" for one in told(other))


@pytest.mark.parametrize("data", [b"", b"{}", b"\0" * 10, b"[" * 100_000, b'{"format": 2}'])
def test_a_damaged_ledger_stops_nothing(server: Server, unit: Unit, data: bytes) -> None:
    (unit.folder / "state").mkdir()
    (unit.folder / "state" / "ledger.json").write_bytes(data)
    server.state.assign(TARGET, FILES)
    unit.start().step()
    assert unit.installer.whole == [SWU]
    assert "cannot be understood" in unit.log[0][1]
    assert (unit.folder / "state" / "ledger.json.damaged").exists()
