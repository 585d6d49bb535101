"""Messages of any bytes to every rpc: a status, and a server that goes on."""

import random
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from swagent.lab.items import ItemType
from swagent.lab.server import LabServer
from swagent.lab.wire import METHODS, head

from .labs import SERVER, Keys, serving, using
from .test_transport import VOLUMES

CLEAR = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.DEADLINE_EXCEEDED,  # a stream that goes on, which is right
}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "disk.img").write_bytes(bytes(100_000))
    return Keys(tmp_path)


@pytest.fixture
def served(tmp_path: Path, keys: Keys) -> Iterator[tuple[LabServer, list[str]]]:
    with serving(tmp_path, SERVER + VOLUMES) as found:
        yield found


def originals() -> list[tuple[str, list[bytes]]]:
    """Good calls: the rpc, and its requests."""
    wire = head()
    target = wire.VolumeIoRequest(target=wire.VolumeIoTarget(volume=0, target="emmc"))
    write = wire.VolumeIoRequest(write=wire.VolumeIoWrite(data=b"data", offset=5))
    calls = [
        ("List", [wire.ItemTypeRequest(type=3)]),
        ("Monitor", [wire.ItemTypeRequest(type=1)]),
        ("ItemProperties", [wire.ItemPropertiesRequest(type=3)]),
        ("DeviceInfo", [wire.DeviceRequest(device=0)]),
        ("DeviceChangeMode", [wire.DeviceModeRequest(device=0, mode="on")]),
        ("ConsoleStreamInput", [wire.ConsoleInputRequest(console=0), wire.ConsoleInputRequest(data=b"x")]),
        ("VolumeInfo", [wire.VolumeRequest()]),
        ("VolumeIo", [target, write, wire.VolumeIoRequest(shutdown=wire.VolumeIoShutdown())]),
        ("VolumeErase", [wire.VolumeEraseRequest(target="emmc")]),
    ]
    actuator = wire.ActuatorModeRequest(actuator=0)
    actuator.parameters.update({"mode": "on", "deep": {"er": [1, None]}})
    calls.append(("ActuatorChangeMode", [actuator]))
    return [(name, [request.SerializeToString() for request in requests]) for name, requests in calls]


def mutated(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(4):
            case 0 if out:
                out[at % len(out)] = dice.randrange(256)
            case 1:
                out[at:at] = dice.randbytes(dice.choice((1, 2, 9)))
            case 2:
                del out[at : at + dice.randint(1, 5)]
            case _:
                out[at:at] = out[: dice.randint(0, 20)]
    return bytes(out)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_messages(served: tuple[LabServer, list[str]], keys: Keys, count: int) -> None:
    server, log = served
    dice, methods = random.Random(20), {method.name: method for method in METHODS}
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for _ in range(count):
            name, requests = dice.choice(originals())
            pieces = [mutated(dice, one) if dice.random() < 0.7 else one for one in requests]
            method = methods[name]
            call = channel.stream_stream(f"/boardswarm.Boardswarm/{name}")(
                iter(pieces if method.streams_requests else pieces[:1]),
                metadata=[("authorization", f"Bearer {keys.token()}")],
                timeout=0.05 if method.streams_replies and name != "VolumeIo" else 60,
            )
            try:
                list(call)
            except grpc.RpcError:
                assert call.code() in CLEAR, (name, pieces, call.details())
    with using(server, keys.token()) as client:
        assert [item.name for item in client.items(ItemType.VOLUME)] == ["disk"]
    assert [line for line in log if "Error" in line] == []
