"""``docker_*``: against an engine that fails on demand, and against real ones where there are any."""

import json
import os
import platform
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import (
    Cancelled,
    DeadlineError,
    DescriptionError,
    HandlerError,
    HashError,
    PreflightRefused,
    SwagentError,
    TransportError,
)
from swagent.handlers import BUILT_INS
from swagent.handlers.docker import BODY_BYTES_MAX, WITHHELD_BYTES, _objects, _withheld
from swagent.hw.engine import Engine
from swagent.model import Artifact, Kind, Phase
from swagent.testing import FakeContext, FakeData, FakeEngine, FakeHardware, install, run_script
from swagent.testing.engine import FAULTS

from .engines import TAG, container_image, running

IMAGE = container_image(ballast=os.urandom(WITHHELD_BYTES))
POST, PRE, FAILED = Phase.POSTINSTALL, Phase.PREINSTALL, Phase.POSTFAILURE
LOAD = "POST /images/load"


def context(tmp_path: Path, path: str, **options: Any) -> FakeContext:
    return FakeContext(str(tmp_path), hw=FakeHardware(docker_socket=path), **options)


def loading(*, direct: bool = False, timeout: int = 1) -> Artifact:
    return Artifact(
        Kind.IMAGE,
        "docker_imageload",
        filename="app.tar",
        installed_directly=direct,
        properties={"timeout": (str(timeout),)},
    )


def act(what: str, ctx: FakeContext, *phases: Phase, **properties: str) -> None:
    given = {key.replace("_", "-"): (value,) for key, value in properties.items()}
    art = Artifact(
        Kind.SCRIPT, f"docker_{what}", filename="request.json", properties=given, where="scripts[0]"
    )
    run_script(art, list(phases or (PRE, POST)), ctx)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "docker.sock")


@pytest.fixture
def engine(path: str) -> Iterator[FakeEngine]:
    with FakeEngine(path) as engine:
        yield engine


def asked(engine: FakeEngine) -> list[str]:
    return [f"{request.method} {request.target}" for request in engine.requests]


# -- images


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_an_image_is_loaded(direct: bool, known: bool, engine: FakeEngine, tmp_path: Path) -> None:
    ctx = context(tmp_path, engine.path)
    data = FakeData(IMAGE, size_bytes=len(IMAGE) if known else None, chunk_bytes=100_000)
    install(loading(direct=direct), data, ctx)
    assert engine.images == {TAG: IMAGE}
    request = engine.requests[0]
    assert f"{request.method} {request.target}" == "POST /images/load?quiet=1"
    assert request.headers["host"] == "localhost"
    assert request.headers["content-type"] == "application/x-tar"
    if known or direct:
        assert request.headers["content-length"] == str(len(IMAGE))
    else:
        assert request.headers["transfer-encoding"] == "chunked"
    assert sorted(os.listdir(tmp_path)) == ["docker.sock"]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("size_bytes", [10, WITHHELD_BYTES, 2 * WITHHELD_BYTES, 3 * WITHHELD_BYTES + 1])
def test_the_end_is_withheld_until_the_verdict(
    size_bytes: int, known: bool, engine: FakeEngine, tmp_path: Path
) -> None:
    data = FakeData(bytes(size_bytes), size_bytes=size_bytes if known else None, verdict=HashError("forged"))
    with pytest.raises(HashError):
        install(loading(), data, context(tmp_path, engine.path))
    deadline_s = time.monotonic() + 5
    while not engine.requests and size_bytes > 2 * WITHHELD_BYTES and time.monotonic() < deadline_s:
        time.sleep(0.01)
    for request in engine.requests:
        assert not request.complete
        assert len(request.body) <= size_bytes - min(size_bytes, WITHHELD_BYTES)
    assert engine.images == {}


def test_memory_does_not_grow_with_the_image() -> None:
    read_bytes = sent_bytes = most_bytes = 0

    def pieces() -> Iterator[memoryview]:
        nonlocal read_bytes
        for _ in range(1000):
            read_bytes += 100_000
            yield memoryview(bytes(100_000))

    for piece in _withheld(pieces()):
        most_bytes = max(most_bytes, read_bytes - sent_bytes)
        sent_bytes += len(piece)
    assert sent_bytes == 100_000_000
    assert most_bytes <= 2 * WITHHELD_BYTES + 100_000


def test_of_a_direct_one_nothing_is_sent_before_the_verdict(engine: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(HashError):
        install(
            loading(direct=True),
            FakeData(IMAGE, verdict=HashError("forged")),
            context(tmp_path, engine.path),
        )
    assert engine.requests == []
    assert sorted(os.listdir(tmp_path)) == ["docker.sock"]


ERRORS: dict[str, tuple[type[SwagentError], str]] = {
    "refuses": (HandlerError, "answers app.tar with 500: no space left on device"),
    "lies": (HandlerError, "refuses app.tar: bad layer [2J"),
    "babbles": (TransportError, "makes no sense: it worked"),
    "says-nothing": (HandlerError, "does not say that it has loaded app.tar"),
    "endless": (TransportError, "more than 4194304 bytes"),
    "garbage": (TransportError, "makes no sense"),
    "stalls": (DeadlineError, "was not done within 1 s"),
    "drips": (DeadlineError, "was not done within 1 s"),
    "stalls-reading": (DeadlineError, "was not done within 1 s"),
    "accepts-reading": (HandlerError, "before it has all of app.tar"),
    "refuses-reading": (HandlerError, "no space left on device"),
    "vanishes": (TransportError, "closed connection"),
    "vanishes-reading": (TransportError, "POST /images/load?quiet=1: "),
    "vanishes-answering": (TransportError, "broke off"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_that_fails(fault: str, path: str, tmp_path: Path) -> None:
    error, text = ERRORS[fault]
    open_files = len(os.listdir("/proc/self/fd"))
    begun_s = time.monotonic()
    # more than a socket holds, so that one that is not read is noticed
    image = container_image(ballast=bytes(2_000_000))
    with FakeEngine(path, fault=fault, at=LOAD) as engine, pytest.raises(SwagentError) as raised:
        install(loading(), FakeData(image), context(tmp_path, path))
    assert time.monotonic() - begun_s < 4
    assert type(raised.value) is error
    assert text in raised.value.message
    assert engine.images == {}
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_stop_is_heard_while_the_engine_thinks(path: str, tmp_path: Path) -> None:
    begun_s = time.monotonic()

    def stop() -> None:
        if time.monotonic() - begun_s > 0.3:
            raise Cancelled("stopped on request")

    ctx = context(tmp_path, path, before_checkpoint=stop)
    with FakeEngine(path, fault="stalls", at=LOAD), pytest.raises(Cancelled):
        install(loading(timeout=60), FakeData(IMAGE), ctx)
    assert time.monotonic() - begun_s < 2


# -- actions


def test_what_each_action_asks(engine: FakeEngine, tmp_path: Path) -> None:
    ctx = context(tmp_path, engine.path)
    engine.images = {TAG: b""}
    ctx.scripts["request.json"] = json.dumps({"Image": TAG, "Name": "it"}).encode()
    act("containercreate", ctx, name="app")
    act("containerstart", ctx, name="app")
    act("containerstart", ctx, name="app")
    assert engine.containers == {"app": True}
    act("containerstop", ctx, name="app")
    act("containerstop", ctx, name="app")
    assert engine.containers == {"app": False}
    act("containerdelete", ctx, name="app")
    act("networkcreate", ctx)
    act("volumecreate", ctx)
    assert (engine.networks, engine.volumes) == ({"it"}, {"it"})
    act("networkdelete", ctx, name="it")
    act("volumedelete", ctx, name="it")
    act("imagedelete", ctx, name=TAG)
    act("imageprune", ctx)
    assert not (engine.containers or engine.networks or engine.volumes or engine.images)
    assert asked(engine) == [
        "POST /containers/create?name=app",
        "POST /containers/app/start",
        "POST /containers/app/start",
        "POST /containers/app/stop",
        "POST /containers/app/stop",
        "DELETE /containers/app",
        "POST /networks/create",
        "POST /volumes/create",
        "DELETE /networks/it",
        "DELETE /volumes/it",
        "DELETE /images/acme/app:1.0",
        "POST /images/prune",
    ]
    created = engine.requests[0]
    assert created.body == ctx.scripts["request.json"]
    assert created.headers["content-type"] == "application/json"
    assert created.headers["content-length"] == str(len(created.body))
    tested = {f"docker_{what.split()[1].split('/')[1][:-1]}" for what in asked(engine)}
    assert {name for name, _ in BUILT_INS if name.startswith(tuple(tested))} | {"docker_imageload"} == {
        name for name, _ in BUILT_INS if name.startswith("docker_")
    }


def test_a_container_without_a_name(engine: FakeEngine, tmp_path: Path) -> None:
    engine.images = {TAG: b""}
    act(
        "containercreate",
        context(tmp_path, engine.path, scripts={"request.json": b'{"Image": "acme/app:1.0"}'}),
    )
    assert asked(engine) == ["POST /containers/create"]


@pytest.mark.parametrize("phases", [[PRE], [FAILED], [PRE, FAILED]])
def test_nothing_is_asked_in_other_phases(phases: list[Phase], engine: FakeEngine, tmp_path: Path) -> None:
    ctx = context(tmp_path, engine.path, scripts={"request.json": b"{}"})
    act("containercreate", ctx, *phases)
    act("imageprune", ctx, *phases)
    assert engine.requests == []


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"[]", "is no JSON object"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"a": "' + b"x" * BODY_BYTES_MAX + b'"}', f"more than {BODY_BYTES_MAX} bytes"),
    ],
)
def test_what_is_sent_is_looked_at_before_images_are_installed(
    member: bytes, text: str, engine: FakeEngine, tmp_path: Path
) -> None:
    ctx = context(tmp_path, engine.path, scripts={"request.json": member})
    with pytest.raises(HandlerError, match=text):
        act("containercreate", ctx, PRE)
    assert engine.requests == []


def test_what_the_engine_says_is_told(engine: FakeEngine, tmp_path: Path) -> None:
    ctx = context(tmp_path, engine.path, scripts={"request.json": b'{"Image": "none"}'})
    with pytest.raises(HandlerError, match=r"answers request\.json with 404: No such image: none"):
        act("containercreate", ctx, name="app")
    with pytest.raises(HandlerError, match="404: No such container: app"):
        act("containerdelete", ctx, name="app")
    engine.containers["app"] = True
    with pytest.raises(HandlerError, match="409: You cannot remove a running container app"):
        act("containerdelete", ctx, name="app", allow_missing="true")


@pytest.mark.parametrize(
    "what", ["containerdelete", "containerstop", "imagedelete", "networkdelete", "volumedelete"]
)
def test_what_is_not_there_may_be_missing(what: str, engine: FakeEngine, tmp_path: Path) -> None:
    ctx = context(tmp_path, engine.path)
    act(what, ctx, name="gone", allow_missing="true")
    assert ("info", "there is no gone") in ctx.logged


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("containerdelete", "../images/app"),
        ("containerdelete", "app?force=1"),
        ("containerstart", "a b"),
        ("volumedelete", "a/b"),
        ("networkdelete", ""),
        ("imagedelete", "acme/../../containers/app"),
        ("imagedelete", "acme//app"),
        ("imagedelete", "acme/app:1.0\n"),
        ("imagedelete", "acme/app%2f"),
    ],
)
def test_what_is_no_name(what: str, name: str, engine: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="names nothing"):
        act(what, context(tmp_path, engine.path), name=name)
    assert engine.requests == []


@pytest.mark.parametrize(
    "fault", ["refuses", "garbage", "stalls", "drips", "endless", "vanishes", "vanishes-answering"]
)
def test_an_action_that_fails(fault: str, path: str, tmp_path: Path) -> None:
    error, _ = ERRORS[fault]
    with FakeEngine(path, fault=fault, at="POST /containers") as engine:
        engine.containers["app"] = False
        with pytest.raises(error):
            act("containerstart", context(tmp_path, path), name="app", timeout="1")
        assert engine.containers == {"app": False}


# -- before anything is written


def test_an_engine_that_is_not_there_is_noticed_beforehand(path: str, tmp_path: Path) -> None:
    data = FakeData(IMAGE)
    with pytest.raises(PreflightRefused, match="No such file"):
        install(loading(), data, context(tmp_path, path))
    with pytest.raises(PreflightRefused, match="No such file"):
        act("containerstart", context(tmp_path, path), name="app")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)
    with pytest.raises(PreflightRefused, match="Connection refused") as raised:
        install(loading(), data, context(tmp_path, path))
    assert "docker-socket" in raised.value.hint
    assert not data.read_bytes
    with pytest.raises(PreflightRefused, match="too long"):
        install(loading(), data, context(tmp_path, "/" + "x" * 200))


def test_a_stop_is_no_refusal(path: str, tmp_path: Path) -> None:
    def stop() -> None:
        raise Cancelled("stopped on request")

    ctx = context(tmp_path, path, before_checkpoint=stop)
    with FakeEngine(path, fault="stalls", at="GET /_ping"), pytest.raises(Cancelled):
        install(loading(), FakeData(IMAGE), ctx)


def test_an_answer_of_many_words_is_read_in_no_time() -> None:
    begun_s = time.monotonic()
    assert sum(1 for _ in _objects(b"{} \n" * 300_000)) == 300_000
    assert time.monotonic() - begun_s < 10


def test_an_engine_that_is_not_well(path: str, tmp_path: Path) -> None:
    with (
        FakeEngine(path, fault="refuses", at="GET /_ping"),
        pytest.raises(PreflightRefused, match="500 to a ping"),
    ):
        install(loading(), FakeData(IMAGE), context(tmp_path, path))


def test_a_timeout_that_makes_no_sense(engine: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="timeout goes from 1"):
        install(loading(timeout=0), FakeData(IMAGE), context(tmp_path, engine.path))


# -- the real thing


# podman would raise the usual ones, which not everybody may
LIMITS = [{"Name": name, "Soft": 1024, "Hard": 1024} for name in ("nofile", "nproc")]


@pytest.mark.parametrize("program", ["dockerd", "podman"])
def test_a_real_engine(program: str, tmp_path: Path) -> None:
    with running(program) as path:
        ctx = context(tmp_path, path)
        there = Engine(path, waiting=lambda: None, timeout_s=60)

        def status(method: str, target: str) -> int:
            return there.ask(method, target)[0]

        for data in (FakeData(IMAGE, verdict=HashError("forged")), FakeData(IMAGE[: len(IMAGE) // 2])):
            with pytest.raises((HashError, HandlerError)):
                install(loading(timeout=60), data, ctx)
            assert status("GET", f"/images/{TAG}/json") == 404
        for size_bytes in (len(IMAGE), None):
            install(loading(timeout=60), FakeData(IMAGE, size_bytes=size_bytes), ctx)
            assert status("GET", f"/images/{TAG}/json") == 200
            act("imagedelete", ctx, name=TAG)
            assert status("GET", f"/images/{TAG}/json") == 404
        install(loading(direct=True, timeout=60), FakeData(IMAGE), ctx)
        host = {"NetworkMode": "none", "Ulimits": LIMITS}
        ctx.scripts["request.json"] = json.dumps({"Image": TAG, "HostConfig": host}).encode()
        act("containercreate", ctx, name="app")
        assert status("GET", "/containers/app/json") == 200
        if platform.machine() == "x86_64":
            for _ in range(2):
                act("containerstart", ctx, name="app")
            with pytest.raises(HandlerError, match="answers"):
                act("containerdelete", ctx, name="app")
            for _ in range(2):
                act("containerstop", ctx, name="app")
        act("containerdelete", ctx, name="app")
        with pytest.raises(HandlerError, match="404"):
            act("containerdelete", ctx, name="app")
        act("containerdelete", ctx, name="app", allow_missing="true")
        ctx.scripts["request.json"] = b'{"Name": "data"}'
        act("volumecreate", ctx)
        assert status("GET", "/volumes/data") == 200
        act("volumedelete", ctx, name="data")
        assert status("GET", "/volumes/data") == 404
        act("imageprune", ctx)
