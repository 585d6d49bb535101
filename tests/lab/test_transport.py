"""What is around the rpcs: certificates, headers before data, the wire of 2023, clients that go away."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from swagent.errors import LabError, SettingsError
from swagent.lab.client import LabClient
from swagent.lab.items import ItemType
from swagent.lab.server import LabServer
from swagent.lab.wire import head, year_2023

from .labs import SERVER, Keys, certificate, eventually, serving

VOLUMES = """
providers:
  - name: disks
    provider: file
    parameters: { volumes: [ { name: disk, targets: [ { name: emmc, path: disk.img } ] } ] }
devices: []
"""


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "disk.img").write_bytes(bytes(100_000))
    return Keys(tmp_path)


@pytest.fixture
def server(tmp_path: Path, keys: Keys) -> Iterator[LabServer]:
    with serving(tmp_path, SERVER + VOLUMES) as (server, _):
        yield server


def rpc(server: LabServer, wire: Any, name: str, requests: Any, token: str) -> Any:
    """A call that the test makes by itself, on a channel of its own."""
    method = next(method for method in wire.methods if method.name == name)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    maker = channel.stream_stream if method.streams_requests else channel.unary_stream
    call = maker(
        f"/boardswarm.Boardswarm/{name}",
        request_serializer=wire.message(method.request).SerializeToString,
        response_deserializer=wire.message(method.reply).FromString,
    )
    return call(requests, metadata=[("authorization", f"Bearer {token}")], timeout=60)


def test_headers_come_before_any_data(server: LabServer, keys: Keys) -> None:
    """Clients wait for them; a volume that nobody has named yet answers nothing else."""
    block = threading.Event()

    def requests() -> Iterator[Any]:
        block.wait(60)
        yield head().VolumeIoRequest()

    call = rpc(server, head(), "VolumeIo", requests(), keys.token())
    call.initial_metadata()
    block.set()
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_replies_leave_in_the_order_of_requests(server: LabServer, keys: Keys, tmp_path: Path) -> None:
    """Several under way at once, as the original client has them; large pieces, mixed with reads."""
    wire = head()
    requests = [
        wire.VolumeIoRequest(target=wire.VolumeIoTarget(volume=0, target="emmc")),
        wire.VolumeIoRequest(write=wire.VolumeIoWrite(data=b"a" * 50_000, offset=0)),
        wire.VolumeIoRequest(read=wire.VolumeIoRead(length=10, offset=49_995)),
        wire.VolumeIoRequest(flush=wire.VolumeIoFlush()),
        wire.VolumeIoRequest(write=wire.VolumeIoWrite(data=b"b" * 10, offset=50_000)),
        wire.VolumeIoRequest(read=wire.VolumeIoRead(length=10, offset=99_995)),
        wire.VolumeIoRequest(read=wire.VolumeIoRead(length=10, offset=100_000)),
        wire.VolumeIoRequest(shutdown=wire.VolumeIoShutdown()),
    ]
    replies = list(rpc(server, wire, "VolumeIo", iter(requests), keys.token()))
    kinds = [reply.WhichOneof("Reply") for reply in replies]
    assert kinds == ["target", "write", "read", "flush", "write", "read", "read", "shutdown"]
    assert replies[0].target.target.size == 100_000
    assert [replies[at].read.data for at in (2, 5, 6)] == [b"a" * 5 + bytes(5), bytes(5), b""]
    assert [replies[at].write.written for at in (1, 4)] == [50_000, 10]
    assert (tmp_path / "disk.img").read_bytes()[49_999:50_011] == b"a" + b"b" * 10 + b"\0"


@pytest.mark.parametrize("second", ["target", "nothing", "after the end"])
def test_requests_that_make_no_sense(server: LabServer, keys: Keys, second: str) -> None:
    wire = head()
    first = wire.VolumeIoRequest(target=wire.VolumeIoTarget(volume=0, target="emmc"))
    end = wire.VolumeIoRequest(shutdown=wire.VolumeIoShutdown())
    requests = {
        "target": [first, first],
        "nothing": [first, wire.VolumeIoRequest()],
        "after the end": [first, end, end],
    }
    call = rpc(server, wire, "VolumeIo", iter(requests[second]), keys.token())
    if second == "nothing":
        assert len(list(call)) == 1
        return
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_wire_of_2023(tmp_path: Path, keys: Keys) -> None:
    """No reply to the target; the end of the requests is the end of what is written."""
    wire = year_2023()
    requests = [
        wire.VolumeIoRequest(target=wire.VolumeIoTarget(volume=0, target="emmc")),
        wire.VolumeIoRequest(write=wire.VolumeIoWrite(data=b"old", offset=7)),
        wire.VolumeIoRequest(read=wire.VolumeIoRead(length=5, offset=6)),
    ]
    with serving(tmp_path, SERVER + VOLUMES, legacy=True) as (server, _):
        eventually(lambda: server.lab.volumes.items())
        replies = list(rpc(server, wire, "VolumeIo", iter(requests), keys.token()))
    assert [reply.WhichOneof("Reply") for reply in replies] == ["write", "read"]
    assert replies[1].read.data == b"\0old\0"


def test_a_certificate(tmp_path: Path, keys: Keys) -> None:
    ca = certificate(tmp_path)
    files = f"  certificate: {{ chain: {tmp_path}/chain.pem, key: {tmp_path}/key.pem }}\n"
    text = SERVER.rstrip() + "\n" + files + VOLUMES
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(SettingsError, match=r"key\.pem"), serving(tmp_path, text) as (server, _):
        pass
    (tmp_path / "key.pem").chmod(0o600)
    with serving(tmp_path, text) as (server, _):
        with LabClient(f"https://127.0.0.1:{server.port}", keys.token(), ca=ca) as client:
            assert eventually(lambda: client.items(ItemType.VOLUME))
            data = b"x" * 100_000
            assert client.write(0, "emmc", io.BytesIO(data)) == len(data)
        for uri in (f"https://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}"):
            with (
                LabClient(uri, keys.token()) as client,
                pytest.raises(LabError),
            ):  # nobody vouches; no TLS at all
                client.items(ItemType.VOLUME)


def test_a_port_that_is_taken(server: LabServer, tmp_path: Path) -> None:
    text = SERVER.replace("127.0.0.1:0", f"127.0.0.1:{server.port}") + VOLUMES
    with pytest.raises(SettingsError, match="cannot listen"), serving(tmp_path, text):
        pass
