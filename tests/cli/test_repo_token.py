"""``swagent repo`` with keys that never leave their token."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.cli.main import main
from tests.crypto.softhsm import Token

pkcs11 = pytest.importorskip("pkcs11", reason="needs python-pkcs11: pip install python-pkcs11")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    made = Token(tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    yield made
    pkcs11.unload(made.module)  # its C library read the variable once


@pytest.mark.parametrize(("dialect", "kind"), [("tuf1", "EC:prime256v1"), ("ak", "rsa:2048")])
def test_root_is_signed_in_the_token(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: Token,
    dialect: str,
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    token.generate("root", 1, kind)
    assert main(["repo", "key", "root", "--keys", "stick", "--uri", token.uri("root")]) == 0
    assert main(["repo", "init", "--repo", "r", "--offline-keys", "stick", "--dialect", dialect]) == 0
    assert (tmp_path / "stick/root").read_text().startswith("pkcs11:")
    assert main(["repo", "key", "next", "--keys", "stick"]) == 0
    assert main(["repo", "rotate", "snapshot", "stick/next.pub", "--repo", "r"]) == 0
    capsys.readouterr()
    assert main(["repo", "sign", "--repo", "r", "--keys", "stick", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["signed"]) == ["root"]
    assert main(["repo", "publish", "--repo", "r", "--keys", "stick"]) == 0
