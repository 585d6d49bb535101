"""A whole Debian with our units, booted in a container: an update through its socket, a reboot, a confirmation.

Its root is that of this machine, below a layer that is thrown away.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from swagent.errors import SwagentError
from swagent.ipc import ControlClient
from tests.conftest import KeyRing
from tests.daemon.running import signed_image, until
from tests.programs import PROJECT, must, need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
INSIDE = "/srv/unit"
TARGET = """
[Unit]
Requires=basic.target
After=basic.target
Wants=swagent-control.socket swagent-progress.socket swagent-events.socket swagent.service swagent-confirm.service
AllowIsolate=yes
"""
# layers, then the container, again and again: what is in the layers stays, as on a device that reboots
BOOT = """
set -e
stopped=
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
cp -a "$2/etc" "$1/upper/etc"
mkdir -p "$1/upper/usr/local/bin"
cp "$2/swagent" "$1/upper/usr/local/bin/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
rm -rf "$1/root/etc/machine-id" "$1/root/var/lib/swagent"
shift 2
trap 'stopped=1; kill $container' TERM
while [ -z "$stopped" ]; do
    systemd-nspawn --quiet --register=no --keep-unit --private-network --link-journal=no --console=pipe \\
        --kill-signal=SIGRTMIN+3 "$@" &
    container=$!
    wait $container || wait $container || true
done
"""


@pytest.fixture
def unit(tmp_path: Path, key_ring: KeyRing) -> Iterator[Path]:
    """The folder that the booted system shares with us."""
    need("systemd-nspawn", "grub-editenv", "swupdate")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    shared, scratch, layer = tmp_path / "unit", tmp_path / "scratch", tmp_path / "layer"
    units, settings = layer / "etc/systemd/system", layer / "etc/swagent"
    for folder in (shared, scratch, units, settings):
        folder.mkdir(parents=True)
    for each in (PROJECT / "systemd").glob("swagent*.s*"):
        if each.suffix in (".service", ".socket"):
            (units / each.name).write_text(each.read_text())
    (units / "test.target").write_text(TARGET)
    drop_in(units / "swagent-control.socket.d", f"[Socket]\nListenStream={INSIDE}/control\n")
    for service in ("swagent.service", "swagent-confirm.service"):  # this Python may live in somebody's home
        drop_in(units / f"{service}.d", "[Service]\nProtectHome=no\nPrivateTmp=no\n")
    (settings / "daemon.conf").write_text(
        "DAEMON_OPTIONS=-f /etc/swagent/settings.cfg -H board:1.0\nCONFIRM_OPTIONS=-f /etc/swagent/settings.cfg\n"
    )
    (settings / "settings.cfg").write_text(
        'globals : { public-key-file = "/etc/swagent/release.pem"; bootloader = "grub";'
        ' postupdatecmd = "systemctl reboot"; };\n'
        f'swagent : {{ grubenv-path = "{INSIDE}/grubenv"; }};\n'
    )
    (settings / "release.pem").write_bytes(key_ring.cert.read_bytes())
    program = layer / "swagent"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m swagent "$@"\n')
    program.chmod(0o755)
    must(["grub-editenv", str(shared / "grubenv"), "create"])
    must(["grub-editenv", str(shared / "grubenv"), "set", "slot=a"])
    binds = [f"--bind-ro={path}" for path in {str(PROJECT), sys.base_prefix}]
    console = tmp_path / "console.log"
    with console.open("wb") as out:
        container = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", BOOT, "boot", scratch, layer, f"--directory={scratch}/root", *binds,
             f"--bind={shared}:{INSIDE}", "--boot", "systemd.unit=test.target"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield shared
    finally:
        container.send_signal(signal.SIGTERM)
        try:
            container.wait(60)
        except subprocess.TimeoutExpired:
            for pid in descendants(container.pid):
                os.kill(pid, signal.SIGKILL)
            container.kill()
            container.wait()


def drop_in(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "test.conf").write_text(text)


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def state(unit: Path) -> dict[str, Any]:
    try:
        return ControlClient(str(unit / "control"), timeout_s=30).ask_ours({"do": "state"})
    except SwagentError:
        return {}


def verdict_of(unit: Path) -> str:
    updates = state(unit).get("updates")
    return str(updates[0]["verdict"]) if updates else ""


def test_an_update_a_reboot_a_confirmation(unit: Path, tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(
        tmp_path, key_ring, target=f"{INSIDE}/target", more='bootenv : ( { name = "slot"; value = "b"; } );'
    )
    until(lambda: state(unit), "the first boot")
    before = state(unit)
    assert before["updates"] == []
    client = ControlClient(str(unit / "control"), timeout_s=60)
    with client.ours({"do": "install"}, patience_s=60) as connection:
        connection.send(image.read_bytes())
        connection.end()
        *_, verdict = connection.events()
    assert verdict["result"] == "installed", verdict
    assert (unit / "target").exists()
    assert verdict_of(unit) == "COMMITTED"
    with suppress(SwagentError):  # the reboot may be faster than the answer
        client.post_update()
    until(lambda: verdict_of(unit) == "CONFIRMED", "the confirmation after the reboot")
    assert "slot=b" in (unit / "grubenv").read_text()
