"""The messages with one answer, by our own client."""

from pathlib import Path

import pytest

from swagent.errors import NotAcknowledged
from swagent.ipc import Request, Revisions
from tests.conftest import KeyRing
from tests.e2e.test_vars import Unit
from tests.faults.images import Member, archive, described, entry, noise, signed, signing_key
from tests.handlers.zckfile import zck
from tests.net.server import serving
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


def test_variables_of_a_namespace(tmp_path: Path, key_ring: KeyRing) -> None:
    """Stored in an environment beside that of the boot loader, where libubootenv's own tool finds them."""
    need("fw_printenv")
    unit = Unit(tmp_path / "unit")
    config = unit.root / "fw_env.config"
    settings = unit.folder / "swupdate.cfg"
    settings.write_text(f'globals : {{ fwenv-config-location = "{config}"; namespace-vars = "app"; }};\n')
    with daemon(tmp_path, "-k", key_ring.cert, *HARDWARE, "-B", "none", "-f", settings) as running:
        client = running.client
        assert client.variable("kept") == "2"
        client.set_variable("colour", "blue")
        assert (client.variable("colour"), unit.app()["colour"]) == ("blue", "blue")
        client.set_variable("old", "")
        assert unit.app() == {"kept": "2", "colour": "blue"}
        with pytest.raises(NotAcknowledged, match="no variable"):
            client.variable("old")
        assert client.variable("slot", namespace="uboot") == "a"
        client.set_variable("slot", "b", namespace="uboot")
        assert unit.env()["slot"] == "b"
        for bad in ("", "a=b"):
            with pytest.raises(NotAcknowledged):
                client.set_variable(bad, "x")
        with pytest.raises(NotAcknowledged):
            client.set_variable("x", "y", namespace="nobody's")
        with client.install(Request()), pytest.raises(NotAcknowledged, match="update is running"):
            client.set_variable("colour", "red")
    assert unit.app() == {"kept": "2", "colour": "blue"}


def test_where_a_delta_is_fetched_from(tmp_path: Path) -> None:
    """What a client says counts instead of what the image says, for one update."""
    old = noise(1 << 20)
    new = old[: 1 << 19] + noise(4096, 2) + old[(1 << 19) + 4096 :]
    front, whole = zck(tmp_path, new)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").touch()
    member = Member("rootfs.zck", front)
    image = entry(member, device=f"{tmp_path}/new", type="delta").removesuffix("}") + (
        'properties = { url = "http://127.0.0.1:9/gone.zck"; chain = "raw"; '
        f'source = "{tmp_path}/old"; }}; }}'
    )
    update = archive(signed(described({"images": [image]}), member))
    (tmp_path / "public.pem").write_bytes(signing_key()[1])
    path = tmp_path / "update.swu"
    path.write_bytes(update)
    settings = tmp_path / "swupdate.cfg"
    settings.write_text("globals : { }; delta : { retry = 0; };\n")
    options: list[str | Path] = ["-k", tmp_path / "public.pem", *HARDWARE, "-B", "none", "-f", settings]
    with serving(whole) as server, daemon(tmp_path, *options) as running:
        running.client.set_delta_url("other.zck", server.url)
        assert send(running, path)[-1] == "= FAILURE"
        running.client.set_delta_url("gone.zck", server.url)
        assert send(running, path)[-1] == "= SUCCESS"
        assert server.ranges
        assert send(running, path)[-1] == "= FAILURE"
    assert (tmp_path / "new").read_bytes()[: len(new)] == new
