"""``swagent repo``: from nothing to what a vehicle takes, and what is refused on the way."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swagent.cli.main import main
from swagent.clock import SystemClock
from swagent.uptane.codecs import NAMES
from swagent.uptane_client.tuf import TufClient, begin


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gw.swu").write_bytes(b"image" * 100)
    return tmp_path


@pytest.fixture
def tree(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(*words: str) -> dict[str, Any]:
        assert main(["repo", *words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


@pytest.mark.parametrize("dialect", NAMES)
def test_from_nothing_to_rotated_keys(here: Path, dialect: str, tree: Callable[..., dict[str, Any]]) -> None:
    tree("init", "--repo", "r", "--offline-keys", "stick", "--dialect", dialect, "--timestamp-days", "2")
    for name in ("stick/root", "stick/targets", "r/keys/snapshot", "r/keys/timestamp"):
        assert stat.S_IMODE((here / name).stat().st_mode) == 0o600
    tree(
        "add", "gw.swu", "--repo", "r", "--as", "gw/main.swu", "--hardware-id", "gw", "--release-counter", "3"
    )
    assert tree("sign", "--repo", "r")["missing"] == {"targets": 1}
    assert list(tree("sign", "--repo", "r", "--keys", "stick")["signed"]) == ["targets"]
    roles = {one["role"]: one for one in tree("publish", "--repo", "r")["roles"]}
    assert roles["targets"]["live"] == 2
    assert roles["timestamp"]["expires_s"] - SystemClock().now_s() > 86_400 * 1.9
    for role, key in (("root", "stick/root-2"), ("timestamp", "r/keys/timestamp-2")):
        folder, _, name = key.rpartition("/")
        public = tree("key", name, "--keys", folder)["public_file"]
        tree("rotate", role, public, "--repo", "r")
        os.rename(key, f"{key}.later")  # not at hand yet
        assert tree("sign", "--repo", "r", "--keys", "stick/root")["missing"]["root"] == 1
        os.rename(f"{key}.later", key)
        tree("sign", "--repo", "r", "--keys", "stick")
        tree("publish", "--repo", "r")
    roles = {one["role"]: one["live"] for one in tree("refresh", "--repo", "r")["roles"]}
    assert roles == {"root": 3, "targets": 2, "snapshot": 5, "timestamp": 5}
    shown = tree("show", "--repo", "r", "--images")
    assert shown["dialect"] == dialect
    assert [(one["name"], one["hardware_ids"], one["release_counter"]) for one in shown["images"]] == [
        ("gw/main.swu", ["gw"], 3)
    ]
    if dialect == "tuf1":
        begin(str(here / "client"), str(here / "r/live/metadata/1.root.json"))
        client = TufClient(str(here / "client"), f"file://{here}/r/live/metadata", SystemClock())
        client.download("gw/main.swu", str(here / "got"), f"file://{here}/r/live/targets")
        assert (here / "got" / "gw%2Fmain.swu").read_bytes() == b"image" * 100


def test_a_supplier_with_a_key_of_another_kind(here: Path, tree: Callable[..., dict[str, Any]]) -> None:
    tree("init", "--repo", "r", "--offline-keys", "stick")
    made = tree("key", "supplier", "--keys", "theirs", "--scheme", "ecdsa-sha2-nistp256")
    tree("delegate", f"tcu={made['public_file']}", "--path", "tcu/*", "--terminating", "--repo", "r")
    tree("add", "gw.swu", "--as", "tcu/x", "--role", "tcu", "--repo", "r")
    tree("sign", "--repo", "r", "--keys", "stick", "--keys", "theirs/supplier")
    tree("publish", "--repo", "r")
    shown = tree("show", "--repo", "r")
    assert shown["delegations"] == [
        {"by": "targets", "roles": ["tcu"], "paths": ["tcu/*"], "hash_prefixes": [], "terminating": True,
         "agreement": 1, "hardware_ids": None}
    ]  # fmt: skip
    tree("withdraw", "tcu", "--repo", "r")
    assert tree("show", "--repo", "r")["delegations"] == []
    tree("remove", "tcu/x", "--role", "tcu", "--repo", "r")


def test_keys_with_a_password(here: Path, tree: Callable[..., dict[str, Any]]) -> None:
    (here / "password").write_text("secret\n")
    (here / "password").chmod(0o600)
    tree("init", "--repo", "r", "--offline-keys", "stick", "--password-file", "password")
    assert b"@@@@" in (here / "stick/root").read_bytes()
    assert main(["repo", "refresh", "--repo", "r"]) == 70
    tree("refresh", "--repo", "r", "--password-file", "password")
    names = [one["name"] for one in tree("key", "--keys", "stick", "--password-file", "password")["keys"]]
    assert names == ["root", "targets"]


def test_for_people(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repo", "init", "--repo", "r", "--offline-keys", "stick"]) == 0
    assert main(["repo", "add", "gw.swu", "--repo", "r"]) == 0
    assert main(["repo", "show", "--repo", "r", "--images"]) == 0
    out = capsys.readouterr().out
    assert "Next: `swagent repo sign --keys DIR`" in out
    assert "2 staged, to be signed" in out
    assert "in 365 days" in out
    assert main(["repo", "sign", "--repo", "r", "--keys", "stick"]) == 0
    assert main(["repo", "publish", "--repo", "r"]) == 0
    assert main(["repo", "key", "--keys", "stick"]) == 0
    assert main(["repo", "refresh", "--repo", "r", "--within", "100"]) == 0
    assert "must be signed by hand: targets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["init", "--repo", "r"], 2),
        (["init", "--repo", "other"], 2),
        (["init", "--repo", "other", "--offline-keys", "x", "--root-days", "0"], 2),
        (["init", "--repo", "r", "--offline-keys", "x"], 70),
        (["add", "nothing", "--repo", "r"], 41),
        (["add", "gw.swu", "--as", "../x", "--repo", "r"], 12),
        (["add", "gw.swu", "--custom", "[]", "--repo", "r"], 2),
        (["add", "gw.swu", "--custom", "{", "--repo", "r"], 2),
        (["add", "gw.swu", "--release-counter", "-1", "--repo", "r"], 2),
        (["add", "gw.swu", "--release-counter", "x", "--repo", "r"], 2),
        (["delegate", "x", "--path", "*", "--repo", "r"], 2),
        (["delegate", "x=gw.swu", "--path", "*", "--repo", "r"], 70),
        (["delegate", "x=gw.swu", "--repo", "r"], 70),
        (["rotate", "root", "gw.swu", "--repo", "r"], 70),
        (["show", "--repo", "nowhere"], 70),
        (["publish", "--repo", "r", "--keys", "gw.swu"], 70),
        (["refresh", "--within", "soon", "--repo", "r"], 2),
        (["key", "root", "--keys", "stick"], 70),
        (["key", "x", "--uri", "file:nothing"], 70),
        (["key", "x", "--uri", "file:nothing", "--scheme", "ed25519"], 2),
    ],
)
def test_refusals_change_nothing(here: Path, words: list[str], code: int) -> None:
    assert main(["repo", "init", "--repo", "r", "--offline-keys", "stick"]) == 0
    (here / "r" / ".lock").touch()
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main(["repo", *words]) == code
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_one_changes_it_at_a_time(here: Path, tree: Callable[..., dict[str, Any]]) -> None:
    tree("init", "--repo", "r", "--offline-keys", "stick")
    holder = (
        "import fcntl, sys; lock = open('r/.lock', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert main(["repo", "add", "gw.swu", "--repo", "r"]) == 75
        assert tree("show", "--repo", "r")["roles"]
        other.communicate(b"")
    tree("add", "gw.swu", "--repo", "r")
