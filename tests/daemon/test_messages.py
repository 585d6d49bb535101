"""The messages with one answer, by our own client."""

from pathlib import Path

import pytest

from swagent.errors import NotAcknowledged
from swagent.ipc import Request, Revisions
from tests.conftest import KeyRing
from tests.programs import must, need

from .running import HARDWARE, daemon, signed_image, until
from .test_updates import send


def test_what_a_client_can_set_and_ask(tmp_path: Path, key_ring: KeyRing) -> None:
    need("grub-editenv")
    env, image = tmp_path / "grubenv", signed_image(tmp_path, key_ring)
    must(["grub-editenv", str(env), "create"])
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, "-B", "grub", "--grubenv", env) as running:
        client = running.client
        assert client.hardware() == Revisions("board", "1.0")
        assert client.update_state() == "4", "there is none yet"
        client.set_update_state("2")
        assert client.update_state() == "2"
        assert "ustate=2" in env.read_text()
        client.set_aes_key("ab" * 32, "cd" * 16)
        for key, iv in (("ab" * 31, "cd" * 16), ("ab" * 32, "cd" * 15), ("zz" * 32, "cd" * 16)):
            with pytest.raises(NotAcknowledged):
                client.set_aes_key(key, iv)
        client.set_delta_url("rootfs.zck", "http://localhost/rootfs.zck")
        with pytest.raises(NotAcknowledged):
            client.set_delta_url("", "http://localhost/")
        with pytest.raises(NotAcknowledged, match="namespace"):
            client.variable("x")
        with pytest.raises(NotAcknowledged, match="no type of updates"):
            client.set_versions_range(minimum="2.0", update_type="none")
        client.set_versions_range(minimum="2.0")
        assert send(running, image)[-1] == "= FAILURE"
        client.set_versions_range(minimum="1.0", maximum="1.5")
        assert send(running, image)[-1] == "= SUCCESS"
        client.set_versions_range(current="1.0.1")
        assert send(running, image)[-1] == "= FAILURE"
        with client.install(Request()), pytest.raises(NotAcknowledged, match="update is running"):
            client.set_update_state("0")


def test_without_an_environment_no_state(tmp_path: Path, key_ring: KeyRing) -> None:
    with daemon(tmp_path, "-k", key_ring.cert, "-B", "none") as running:
        assert running.client.update_state() == "4"
        running.client.status()


def test_what_post_update_says(tmp_path: Path, key_ring: KeyRing) -> None:
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, "-p", "exit 3") as running:
        with pytest.raises(NotAcknowledged, match="Post-update actions failed"):
            running.client.post_update()
        until(lambda: "status 3" in running.text(), "its line")
