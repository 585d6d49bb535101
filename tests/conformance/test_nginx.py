"""A published repository is static files: Debian's nginx serves it, python-tuf's client and ours take it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from socket import create_connection, socket

import pytest

from swagent.clock import SystemClock
from swagent.uptane.metadata import TOP_LEVEL
from swagent.uptane_client.tuf import TufClient, begin
from tests.programs import need
from tests.uptane_server.office import IMAGES, Office

pytest.importorskip("tuf", reason="needs python-tuf: pip install tuf")
DEADLINE_S = 60.0
CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[str]:
    need("nginx")
    folder.mkdir()
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = folder / "nginx.conf"
    path.write_text(CONFIGURATION.format(folder=folder, port=port, root=root))
    with subprocess.Popen(["nginx", "-c", path, "-p", folder], stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + DEADLINE_S
            while True:
                try:
                    create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "error.log").read_text()
                    assert time.monotonic() < until
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_both_clients_follow_what_is_published(tmp_path: Path) -> None:
    from tuf.ngclient.updater import Updater

    assert import_module("tuf")
    office = Office(tmp_path, "tuf1")
    office.clock.time_s = float(int(SystemClock().now_s()))
    supplier = office.new_key()
    office.signers["supplier"] = supplier
    office.repository.delegate({"supplier": [supplier.key]}, paths=["tcu/*"])
    for path, role in (("firmware.img", "targets"), ("tcu/modem.img", "supplier")):
        office.repository.add(office.image(path), path, role=role)
    for role in ("root", "targets", "supplier"):  # their time began with the test's fixed clock
        office.repository._renew(role)
    office.publish()
    root = (tmp_path / "repo/live/metadata/1.root.json").read_bytes()
    ours = tmp_path / "ours"
    begin(str(ours), str(tmp_path / "repo/live/metadata/1.root.json"))
    (tmp_path / "theirs" / "images").mkdir(parents=True)
    with nginx(tmp_path / "nginx", tmp_path / "repo" / "live") as url:
        for turn in range(3):
            theirs = Updater(
                str(tmp_path / "theirs"), f"{url}/metadata/", str(tmp_path / "theirs/images"), f"{url}/targets/",
                bootstrap=root,
            )  # fmt: skip
            theirs.refresh()
            client = TufClient(str(ours), f"{url}/metadata", SystemClock())
            for path, data in IMAGES.items():
                info = theirs.get_targetinfo(path)
                assert info is not None
                expected = b"newer" if turn == 2 and path == "firmware.img" else data
                assert Path(theirs.download_target(info)).read_bytes() == expected
                place, _ = client.download(path, str(tmp_path / f"got-{turn}"), f"{url}/targets")
                assert Path(place).read_bytes() == expected
            if turn == 0:
                for role in TOP_LEVEL:
                    new = office.new_key()
                    office.repository.rotate(role, [new.key])
                    office.repository.sign([office.signers[role], new])
                    office.signers[role] = new
                    office.publish()
            else:
                office.repository.add(office.image("firmware.img", b"newer"), "firmware.img")
                office.publish()
