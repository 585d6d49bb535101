"""Private keys of roles in a folder."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from swagent.crypto import refkey, schemes
from swagent.errors import SettingsError
from swagent.uptane.codecs import codec
from swagent.uptane_client.provision import read_public_key
from swagent.uptane_server.keys import Keystore, Sealing

SCHEMES = (schemes.ED25519, schemes.RSA_PSS, schemes.ECDSA_P256)
VECTORS = Path(__file__).parents[1] / "uptane" / "vectors" / "keys"
SEALING = Sealing(b"pw", rounds=1000)


@pytest.mark.parametrize("sealing", [None, SEALING], ids=["open", "sealed"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_new_key_is_its_owners_alone_and_comes_back(
    tmp_path: Path, scheme: str, sealing: Sealing | None
) -> None:
    store = Keystore(str(tmp_path / "keys"), sealing)
    made = store.generate("root", scheme)
    path = tmp_path / "keys" / "root"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found = store.open("root")
    assert (found.scheme, found.public) == (scheme, made.public)
    assert schemes.load(scheme, found.public).made(found.sign(b"x"), b"x")
    assert store.names() == ("root",)
    assert (
        read_public_key(store.public_file("root"), codec("tuf1")) == store.signer("root", codec("tuf1")).key
    )
    if sealing is not None:
        with pytest.raises(SettingsError, match="password"):
            Keystore(store.folder, Sealing(b"another")).open("root")
        with pytest.raises(SettingsError):
            Keystore(store.folder).open("root")


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    store = Keystore(str(tmp_path))
    before = store.generate("root").public
    with pytest.raises(SettingsError, match="already"):
        store.generate("root")
    assert store.open("root").public == before


@pytest.mark.parametrize("name", ["", "../root", "a/b", ".hidden", "root.pub", "a\0b"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="no name"):
        Keystore(str(tmp_path / "keys")).generate(name)
    assert not (tmp_path / "keys").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    store = Keystore(str(tmp_path))
    store.generate("root")
    os.chmod(tmp_path / "root", 0o640)
    with pytest.raises(SettingsError, match="open to others"):
        store.open("root")


def test_no_such_key_and_no_key(tmp_path: Path) -> None:
    store = Keystore(str(tmp_path))
    with pytest.raises(SettingsError, match="cannot read"):
        store.open("root")
    for text in ("", "hello", "two\nlines", "gopher:key"):
        (tmp_path / "root").write_text(text)
        (tmp_path / "root").chmod(0o600)
        with pytest.raises(SettingsError):
            store.open("root")


def test_a_key_elsewhere_is_named_by_its_uri(tmp_path: Path) -> None:
    elsewhere = Keystore(str(tmp_path / "elsewhere"))
    public = elsewhere.generate("signing", schemes.ECDSA_P256).public
    store = Keystore(str(tmp_path / "keys"))
    assert store.refer("targets", f"file:{tmp_path}/elsewhere/signing").public == public
    assert store.open("targets").public == public
    with pytest.raises(SettingsError):
        store.refer("root", f"file:{tmp_path}/nothing")
    assert store.names() == ("targets",)


@pytest.mark.parametrize(
    ("name", "public", "keyid"),
    [
        (
            "timeserver",
            "5d7750b208dfc7ade8f6106b9c3fa25162d5a184f302161e429f19a79e66a908",
            "79c796d7e87389d1ebad04edce49faef611d139ee41ea9fb1931732afbfaac2e",
        ),
        ("directorroot", "", "fdba7eaa358fa5a8113a789f60c4a6ce29c4478d8d8eff3e27d1d77416696ab2"),
    ],
)
def test_key_files_of_the_reference(tmp_path: Path, name: str, public: str, keyid: str) -> None:
    shutil.copy(VECTORS / name, tmp_path / name)
    shutil.copy(VECTORS / f"{name}.pub", tmp_path / f"{name}.pub")
    (tmp_path / name).chmod(0o600)
    store = Keystore(str(tmp_path), Sealing(b"pw"))
    assert store.names() == (name,)
    signer = store.signer(name, codec("ref-der"))
    assert signer.key.keyid == keyid
    assert not public or signer.key.public == public


def test_a_sealed_file_that_was_changed_is_refused() -> None:
    good = refkey.seal(bytes(32), b"pw", rounds=10)
    assert refkey.unseal(good, b"pw").public == schemes.from_seed(bytes(32)).public
    for at in range(0, len(good), 7):
        bad = good[:at] + (b"0" if good[at : at + 1] != b"0" else b"1") + good[at + 1 :]
        with pytest.raises(ValueError):
            refkey.unseal(bad, b"pw")
    for bad in (b"", b"@@@@" * 4, good + b"@@@@", good.replace(b"@@@@10@@@@", b"@@@@-1@@@@")):
        with pytest.raises(ValueError):
            refkey.unseal(bad, b"pw")
