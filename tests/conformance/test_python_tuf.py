"""python-tuf and ours: each refreshes and downloads from a repository that the other one made, over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from swagent.clock import SystemClock
from swagent.testing.repositories import RepoSimulator, image_target
from swagent.uptane.errors import ExpiredMetadata, UnmetThreshold
from swagent.uptane.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from swagent.uptane_client.tuf import TufClient, begin

pytest.importorskip("tuf", reason="needs python-tuf: pip install tuf")
api: Any = import_module("tuf.api.metadata")  # it exports its names to people, not to mypy
IMAGES = {"firmware.img": b"firmware" * 4000, "lib/deep.img": b"from a supplier" * 99}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def put_image(folder: Path, path: str, data: bytes, *, consistent: bool) -> None:
    parent, _, name = path.rpartition("/")
    place = folder / "targets" / parent / (f"{sha256(data).hexdigest()}.{name}" if consistent else name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


# -- their client, our repository


def our_repository(folder: Path, *, consistent: bool) -> RepoSimulator:
    sim = RepoSimulator("tuf1", now_s=int(SystemClock().now_s()), consistent_snapshot=consistent)
    sim.targets["firmware.img"] = image_target("firmware.img", IMAGES["firmware.img"])
    sim.delegate("supplier", ("lib/*",), [image_target("lib/deep.img", IMAGES["lib/deep.img"])])
    sim.publish()
    for path, data in IMAGES.items():
        put_image(folder, path, data, consistent=consistent)
    sim.write(str(folder))
    return sim


def updater(folder: Path, url: str, root: bytes) -> Any:
    from tuf.ngclient.updater import Updater

    for name in ("metadata", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Updater(
        str(folder / "metadata"),
        f"{url}/metadata/",
        str(folder / "images"),
        f"{url}/targets/",
        bootstrap=root,
    )


@pytest.mark.parametrize("consistent", [True, False])
def test_their_client_takes_our_repository(tmp_path: Path, *, consistent: bool) -> None:
    repository = tmp_path / "repository"
    sim = our_repository(repository, consistent=consistent)
    with served(repository) as url:
        for turn in range(2):
            client = updater(tmp_path / "client", url, sim.roots[0])
            client.refresh()
            for path, data in IMAGES.items():
                info = client.get_targetinfo(path)
                assert info is not None
                assert Path(client.download_target(info)).read_bytes() == data
            if not turn:
                sim.rotate(ROOT, TIMESTAMP, SNAPSHOT, TARGETS)
                sim.publish()
                sim.write(str(repository))


def test_their_client_refuses_what_ours_refuses(tmp_path: Path) -> None:
    from tuf.api.exceptions import UnsignedMetadataError

    repository = tmp_path / "repository"
    sim = our_repository(repository, consistent=True)
    sim.signers[SNAPSHOT] = [sim.new_key()]
    sim.publish()
    sim.write(str(repository))
    with served(repository) as url:
        with pytest.raises(UnsignedMetadataError):
            updater(tmp_path / "client", url, sim.roots[0]).refresh()
        with pytest.raises(UnmetThreshold):
            our_client(tmp_path / "ours", url, sim.roots[0]).refresh()


# -- our client, their repository


class Theirs:
    """A repository made by python-tuf."""

    def __init__(self, folder: Path, *, consistent: bool) -> None:
        from securesystemslib.signer._crypto_signer import (
            CryptoSigner,  # the package does not export it to mypy
        )

        self.folder = folder
        self.consistent = consistent
        self.expires = datetime.fromtimestamp(int(SystemClock().now_s()), UTC) + timedelta(days=1)
        self.signers = {
            ROOT: CryptoSigner.generate_ed25519(),
            TIMESTAMP: CryptoSigner.generate_ecdsa(),
            SNAPSHOT: CryptoSigner.generate_rsa(),
            TARGETS: CryptoSigner.generate_ed25519(),
            "supplier": CryptoSigner.generate_ecdsa(),
        }
        self.root = api.Metadata(api.Root(expires=self.expires, consistent_snapshot=consistent))
        for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS):
            self.root.signed.add_key(self.signers[role].public_key, role)
        key = self.signers["supplier"].public_key
        self.targets = api.Metadata(api.Targets(expires=self.expires))
        role = api.DelegatedRole("supplier", [key.keyid], 1, terminating=False, paths=["lib/*"])
        self.targets.signed.delegations = api.Delegations({key.keyid: key}, {"supplier": role})
        self.supplier = api.Metadata(api.Targets(expires=self.expires))
        for path, data in IMAGES.items():
            holder = self.supplier if path.startswith("lib/") else self.targets
            holder.signed.targets[path] = api.TargetFile.from_data(path, data, ["sha256"])
            put_image(folder, path, data, consistent=consistent)
        self.publish()

    def publish(self) -> None:
        listed = {f"{role}.json": api.MetaFile(1) for role in (TARGETS, "supplier")}
        snapshot = api.Metadata(api.Snapshot(expires=self.expires, meta=listed))
        timestamp = api.Metadata(api.Timestamp(expires=self.expires, snapshot_meta=api.MetaFile(1)))
        (self.folder / "metadata").mkdir(exist_ok=True)
        for role, made in (
            (ROOT, self.root),
            (TARGETS, self.targets),
            ("supplier", self.supplier),
            (SNAPSHOT, snapshot),
            (TIMESTAMP, timestamp),
        ):
            made.sign(self.signers[role])
            versioned = role == ROOT or (self.consistent and role != TIMESTAMP)
            made.to_file(str(self.folder / "metadata" / f"{'1.' if versioned else ''}{role}.json"))


def our_client(folder: Path, url: str, root: bytes) -> TufClient:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "first.json").write_bytes(root)
    begin(str(folder / "metadata"), str(folder / "first.json"))
    return TufClient(str(folder / "metadata"), f"{url}/metadata", SystemClock())


@pytest.mark.parametrize("consistent", [True, False])
def test_our_client_takes_their_repository(tmp_path: Path, *, consistent: bool) -> None:
    repository = tmp_path / "repository"
    Theirs(repository, consistent=consistent)
    root = (repository / "metadata" / "1.root.json").read_bytes()
    with served(repository) as url:
        for fetched in (True, False):
            client = our_client(tmp_path / "client", url, root)
            for path, data in IMAGES.items():
                place, was_fetched = client.download(path, str(tmp_path / "images"), f"{url}/targets")
                assert Path(place).read_bytes() == data
                assert was_fetched == fetched


def test_our_client_refuses_their_expired_timestamp(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    theirs = Theirs(repository, consistent=True)
    theirs.expires -= timedelta(days=2)
    theirs.publish()
    root = (repository / "metadata" / "1.root.json").read_bytes()
    with served(repository) as url, pytest.raises(ExpiredMetadata):
        our_client(tmp_path / "client", url, root).refresh()
