"""Uploads that a real daemon installs, by curl and by a WebSocket client as SWUpdate's are."""

import asyncio
import hashlib
import json
import os
import pwd
import re
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from swagent.ipc import Request
from tests.conftest import KeyRing
from tests.daemon.running import signed_image, until
from tests.net.authority import Authority
from tests.programs import need, run, run_swagent

from .running import Served, big_image, by_a_stranger, served

LAST = "Waiting for requests..."


def upload(there: Served, image: Path) -> tuple[str, str]:
    """curl's answer: status and body."""
    need("curl")
    done = run(
        ["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "-F", f"file=@{image}", f"{there.base}/upload"]
    )
    body, _, status = done.text.rpartition("\n")
    return status, body


def followed(there: Served, image: Path) -> tuple[int, list[dict[str, str]]]:
    """Upload as ``swupdateclient`` does: listen first, then post, then wait for the words of the verdict."""

    async def main() -> tuple[int, list[dict[str, str]]]:
        heard: list[dict[str, str]] = []
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{there.base}/ws") as listener:
            form = aiohttp.FormData()
            form.add_field("file", image.open("rb"), filename=image.name)
            sending = asyncio.create_task(client.post(f"{there.base}/upload", data=form))
            async with asyncio.timeout(60):
                told: dict[str, str] = {}  # the last of each kind; status and message come over two sockets
                while told.get("status") not in ("SUCCESS", "FAILURE", "DONE") or told.get("message") != LAST:
                    heard.append(json.loads(await listener.receive_str()))
                    told[heard[-1]["type"]] = heard[-1].get("text", heard[-1].get("status", ""))
            async with await sending as answer:
                return answer.status, heard

    return asyncio.run(main())


def test_curl_uploads_and_the_device_has_it(tmp_path: Path, key_ring: KeyRing) -> None:
    data = bytes(range(256)) * 20_000
    image = signed_image(tmp_path, key_ring, data)
    with served(tmp_path, key_ring) as there:
        assert upload(there, image) == ("200", f"Ok, update.swu - {image.stat().st_size} bytes.\r\n")
        until(lambda: there.target.exists() and there.target.read_bytes() == data, "the target")


def test_the_websocket_tells_an_update_in_swupdates_words(tmp_path: Path, key_ring: KeyRing) -> None:
    with served(tmp_path, key_ring, "allow-anonymous = true;", "-p", f"touch {tmp_path}/hook") as there:
        status, heard = followed(there, signed_image(tmp_path, key_ring))
        assert status == 200
        statuses = [each["status"] for each in heard if each["type"] == "status"]
        assert statuses[:2] == ["START", "RUN"]
        assert {"type": "source", "source": "WEBSERVER"} in heard
        assert {"type": "info", "source": "update.swu"} in heard
        assert {"type": "message", "level": "6", "text": "SWUPDATE successful !"} in heard
        assert any(each["type"] == "step" and each["name"] == "file" for each in heard)
        until((tmp_path / "hook").exists, "the post-update command")


def test_what_is_refused(tmp_path: Path, key_ring: KeyRing) -> None:
    bad = signed_image(tmp_path, by_a_stranger(key_ring)).rename(tmp_path / "bad.swu")
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring) as there:
        _, heard = followed(there, bad)
        assert {"type": "status", "status": "FAILURE"} in heard
        assert "not among the trusted" in "".join(each.get("text", "") for each in heard)
        assert not there.target.exists()
        with there.daemon.client.install(Request()) as other:
            other.send(image.read_bytes()[:100])
            status, body = upload(there, image)
            assert (status, body.splitlines()[0]) == ("500", "Failed to queue command")
            assert "another update is running" in body
        until(lambda: upload(there, image)[0] == "200", "the end of the other one")
        until(there.target.exists, "the target")


@pytest.mark.parametrize("size_bytes", [64 << 20, pytest.param(2 << 30, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_an_upload_and_nothing_is_kept_in_files(
    size_bytes: int, tmp_path: Path, key_ring: KeyRing
) -> None:
    small = signed_image(tmp_path, key_ring)
    image = big_image(tmp_path, key_ring, size_bytes)
    with served(tmp_path, key_ring) as there:
        assert upload(there, small)[0] == "200"
        until(there.idle, "its end")
        before = there.memory_bytes()
        status, body = upload(there, image)
        assert status == "200", body
        grown = there.memory_bytes() - before
        print(
            f"{size_bytes >> 20} MiB: the web server needs {there.memory_bytes() >> 20} MiB, {grown >> 10} KiB more"
        )
        assert grown < 8 << 20
        opened = run(["ls", "-l", f"/proc/{there.web_pid}/fd"]).text
        assert ".swu" not in opened and "(deleted)" not in opened
        until(there.idle, "its end")
        assert there.target.stat().st_size == size_bytes


@pytest.mark.slow
def test_a_gateway_forwards_an_update_to_it(tmp_path: Path, key_ring: KeyRing) -> None:
    """The handler ``swuforward`` at the other end: SWUpdate's protocol from both sides."""
    panel, gateway = tmp_path / "panel", tmp_path / "gateway"
    for folder in (panel, gateway):
        folder.mkdir()
    inner = big_image(panel, key_ring, 3 << 20)
    with served(panel, key_ring) as there:
        (gateway / "inner.swu").write_bytes(inner.read_bytes())
        (gateway / "sw-description").write_text(
            f"""software = {{ version = "1"; images = ( {{ filename = "inner.swu"; type = "swuforward";
            installed-directly = true; properties = {{ url = [ "{there.base}" ]; }}; }} ); }}"""
        )
        made = run_swagent(["make", "-s", "sw-description", "-o", "outer.swu", "--unsigned"], gateway)
        assert made.ok, made.text
        done = run_swagent(["-i", "outer.swu", "--allow-unsigned"], gateway)
        assert done.ok, done.text
        assert there.target.stat().st_size == 3 << 20


def test_it_gives_up_its_rights_and_needs_none(key_ring: KeyRing) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # pytest's own folders are root's alone
        gives_up_its_rights(Path(folder), key_ring)


def gives_up_its_rights(tmp_path: Path, key_ring: KeyRing) -> None:
    passwords = tmp_path / "passwd"
    passwords.write_text(f"anna:Update:{hashlib.md5(b'anna:Update:secret').hexdigest()}\n")
    passwords.chmod(0o600)  # root's alone: it is read before
    made = Authority(tmp_path / "authority")
    Path(made.path("server.key")).chmod(0o600)
    settings = (
        f'auth-domain = "Update"; global-auth-file = "{passwords}"; user = "nobody"; group = "nogroup"; '
        f'ssl_certificate = "{made.path("server.pem")}"; ssl_certificate_key = "{made.path("server.key")}";'
    )
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring, settings, "--socket-group", "nogroup") as there:
        nobody = pwd.getpwnam("nobody").pw_uid

        def status() -> str:
            return Path(f"/proc/{there.web_pid}/status").read_text()

        until(
            lambda: re.search(rf"Uid:(\s+{nobody}){{4}}\n", status()), "the end of its rights"
        )  # the port is first
        assert re.search(r"CapEff:\s+0+\n", status())
        base = there.base.replace("http:", "https:").replace("127.0.0.1", "localhost")
        command = ["curl", "-s", "--cacert", made.path("ca.pem"), "--digest", "-u", "anna:secret"]
        done = run([*command, "-F", f"file=@{image}", f"{base}/upload"])
        assert done.text.startswith("Ok, update.swu"), done.text
        until(there.target.exists, "the target")
        facts = json.loads(run([*command, f"{base}/api/device"]).text)
        assert facts["hardware"] == "board rev 1.0"


@pytest.mark.slow
def test_it_is_back_after_any_end(tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring) as there:
        first = there.web_pid
        os.kill(first, signal.SIGKILL)
        until(lambda: there.web_pid not in (0, first), "another process")
        until(lambda: upload(there, image)[0] == "200", "its port")
        until(there.target.exists, "the target")
