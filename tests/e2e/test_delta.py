"""Delta updates as typed: signed header, source slot, server; what boots changes only when the image is whole."""

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.device import OLD_ENV, Device
from tests.faults.images import Member, archive, described, half_noise, noise, signed
from tests.handlers.zckfile import zck
from tests.net.server import Exchange, Server, serving
from tests.programs import Done, need, run_swagent

OLD = half_noise(600_000, 8)
NEW = OLD[:200_000] + noise(20_000, 9) + OLD[215_000:500_000] + noise(9000, 10) + OLD[500_000:]


class Update:
    """A device that runs OLD from slot a, and an update that makes NEW of it in slot b."""

    def __init__(self, folder: Path) -> None:
        self.device = Device(folder / "unit")
        (self.device.root / "slot-a.img").write_bytes(OLD)
        self.front, self.whole = zck(folder, NEW)
        self.settings = 'delta : { targettoken = "secret"; retry = 1; retrywait = "0"; };'

    def install(self, url: str, *words: str, more: str = "") -> Done:
        device = self.device
        header = Member("rootfs.zck.header", self.front)
        entry = (
            f'{{ filename = "{header.name}"; sha256 = "{hashlib.sha256(header.data).hexdigest()}"; type = "delta"; '
            f'device = "{device.root}/slot-b.img"; {more} properties = {{ url = "{url}"; chain = "raw"; '
            f'source = "{device.root}/slot-a.img"; verify-write = "true"; }}; }}'
        )
        text = described({"images": [entry], "bootenv": ['{ name = "slot"; value = "b"; }']})
        image = device.folder / "update.swu"
        image.write_bytes(archive(signed(text, header)))
        settings = device.folder / "swupdate.cfg"
        settings.write_text(f"globals : {{ }}; {self.settings}")
        done = run_swagent(
            ["-i", image, "-f", settings, *device.options(), *words],
            device.folder,
            STATE_DIRECTORY=str(device.folder / "state"),
        )
        assert "Traceback" not in done.text, done.text
        assert "secret" not in done.text
        return done

    def is_installed(self) -> None:
        assert (self.device.root / "slot-b.img").read_bytes() == NEW
        assert self.device.env() == {**OLD_ENV, "slot": "b", "ustate": "1"}

    def boots_as_before(self) -> None:
        assert self.device.env()["slot"] == OLD_ENV["slot"]
        assert (self.device.root / "slot-a.img").read_bytes() == OLD


@pytest.fixture
def update(tmp_path: Path) -> Update:
    return Update(tmp_path)


@contextmanager
def parts_server(content: bytes) -> Iterator[Server]:
    with serving(content) as server:
        server.usual = Exchange.serve_parts
        yield server


def test_little_is_fetched_and_all_is_there(update: Update) -> None:
    with parts_server(update.whole) as server:
        done = update.install(server.url, "--json")
        assert done.code == 0, done.text
        update.is_installed()
        assert server.sent_bytes < len(NEW) // 5
        assert {headers["authorization"] for _, headers in server.requests} == {"TargetToken secret"}
        assert "," in server.ranges[0]
    events = [json.loads(line) for line in done.text.splitlines()]
    done_event = next(event for event in events if event["event"] == "artifact.done")
    assert done_event["bytes"] == done_event["total"] == len(NEW)
    assert any("chunks are in" in event.get("message", "") for event in events)


def test_a_dry_run_asks_no_server(update: Update) -> None:
    with parts_server(update.whole) as server:
        assert update.install(server.url, "-n").code == 0
        assert not server.requests
        update.boots_as_before()


def test_servers_that_cannot_or_lie(update: Update) -> None:
    before = (update.device.root / "slot-b.img").read_bytes()
    bent = bytearray(update.whole)
    bent[-1] ^= 1
    for content, usual, code, touched in (
        (update.whole, lambda exchange: exchange.serve(ranges=False), 50, False),
        (update.whole, lambda exchange: exchange.refuse(404), 50, False),
        (update.whole[:-1], Exchange.serve_parts, 50, False),
        (b"x" * len(update.whole), Exchange.serve_parts, 21, True),
    ):
        with serving(content) as server:
            server.usual = usual
            done = update.install(server.url)
            assert done.code == code, done.text
            update.boots_as_before()
            assert touched or (update.device.root / "slot-b.img").read_bytes() == before
    assert update.install(f"http://localhost:{free_port()}/update.zck").code == 50
    update.boots_as_before()


def test_refusals_before_anything_is_written(update: Update) -> None:
    before = (update.device.root / "slot-b.img").read_bytes()
    for url, more, code in (
        ("http://server/x", "installed-directly = true;", 11),
        ("ftp://server/x", "", 34),
        ("dynamic", "", 34),
    ):
        assert update.install(url, more=more).code == code
        assert (update.device.root / "slot-b.img").read_bytes() == before
        update.boots_as_before()
    update.front = update.front[:-1] + b"\0"
    assert update.install("http://server/x").code == 10
    assert (update.device.root / "slot-b.img").read_bytes() == before
    update.boots_as_before()


# -- real servers


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def test_a_real_server_with_single_parts(update: Update) -> None:
    need("busybox")
    files, port = update.device.folder / "www", free_port()
    files.mkdir()
    (files / "image.zck").write_bytes(update.whole)
    with running(["busybox", "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", str(files)], port):
        done = update.install(f"http://127.0.0.1:{port}/image.zck")
        assert done.code == 0, done.text
        update.is_installed()


def test_a_real_server_with_several_parts(update: Update) -> None:
    need("nginx")
    folder, port = update.device.folder / "nginx", free_port()
    (folder / "www").mkdir(parents=True)
    (folder / "www" / "image.zck").write_bytes(update.whole)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; error_log {folder}/error.log; pid {folder}/pid; events {{ }}\n"
        f"http {{ access_log {folder}/access.log; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;\n"
        f"fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/www; }} }}\n"
    )
    with running(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port):
        done = update.install(f"http://127.0.0.1:{port}/image.zck")
        assert done.code == 0, done.text
        update.is_installed()
        assert (folder / "access.log").read_text().count(" 206 ") == 1
