"""The real ``swupdate`` (as Debian builds it: CMS only) on images that carry our signatures."""

import hashlib
import time
from pathlib import Path

import pytest

from swagent.crypto.signature import Trust, verify
from swagent.crypto.signing import sign
from swagent.errors import SignatureError
from tests.crypto.pki import DAY_S, Issued, Key, Wish, certify, ec_key, private_pem, root_wish, rsa_key, write
from tests.programs import cpio, run_swupdate

CONTENT = b"some data for a file\n"
DESCRIPTION = f"""software = {{
  version = "1.0";
  hardware-compatibility: [ "1.0" ];
  files: ({{ filename = "data"; path = "/nowhere/data"; sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"; }});
}}
""".encode()


def swupdate_accepts(folder: Path, signature: bytes, trusted: str, *words: str) -> bool:
    """The verdict of ``swupdate -c``, which checks an image and installs nothing."""
    names = {"sw-description": DESCRIPTION, "sw-description.sig": signature, "data": CONTENT}
    for name, data in names.items():
        write(folder / name, data)
    image = write(folder / "image.swu", cpio(folder, names))
    done = run_swupdate(["-c", "-i", image, "-H", "board:1.0", "-k", trusted, *words], folder)
    assert "Software Update started" in done.text
    return "Verified OK" in done.text


def wish(**changes: object) -> Wish:
    now_s = time.time()  # noqa: TID251  # swupdate reads the real clock
    return Wish(**{"not_before_s": now_s - DAY_S, "not_after_s": now_s + DAY_S, **changes})  # type: ignore[arg-type]


def now_s() -> float:
    return time.time()  # noqa: TID251  # swupdate reads the real clock


def authority() -> Issued:
    good = root_wish()
    return certify(wish(names=good.names, ca=True, usages=good.usages, purposes=None))


@pytest.mark.parametrize(("key", "timed"), [(rsa_key(), False), (ec_key(), True)], ids=["rsa", "ec"])
def test_our_signatures_pass(tmp_path: Path, key: Key, timed: bool) -> None:
    root = authority()
    leaf = certify(wish(), root, key)
    signature = sign(
        DESCRIPTION,
        key_file=write(tmp_path / "k", private_pem(leaf.key)),
        certificate_file=write(tmp_path / "leaf.pem", leaf.pem),
        signing_time_s=now_s() if timed else None,
    )
    trusted = write(tmp_path / "root.pem", root.pem)
    assert swupdate_accepts(tmp_path, signature, trusted)
    assert verify(DESCRIPTION, signature, Trust((trusted,)), now_s=now_s()).label == "release"
    changed = signature[:-1] + bytes([signature[-1] ^ 1])
    assert not swupdate_accepts(tmp_path, changed, trusted)


@pytest.mark.parametrize(
    ("changes", "words", "trust"),
    [
        ({"not_after_s": 1_700_000_000.0, "not_before_s": 1_600_000_000.0}, (), {}),
        ({"purposes": None}, ("--cert-purpose", "codeSigning"), {"cert_purpose": "codeSigning"}),
        ({}, ("--forced-signer-name", "other"), {"forced_signer_name": "other"}),
        ({}, ("--forced-signer-name", "release"), {"forced_signer_name": "release"}),
    ],
    ids=["expired", "no-code-signing", "other-name", "right-name"],
)
def test_the_verdict_is_the_same(
    tmp_path: Path, changes: dict[str, object], words: tuple[str, ...], trust: dict[str, str]
) -> None:
    root = authority()
    leaf = certify(wish(**changes), root)
    key = write(tmp_path / "k", private_pem(leaf.key))
    signature = sign(DESCRIPTION, key_file=key, certificate_file=write(tmp_path / "leaf.pem", leaf.pem))
    trusted = write(tmp_path / "root.pem", root.pem)
    try:
        verify(DESCRIPTION, signature, Trust((trusted,), **trust), now_s=now_s())
    except SignatureError:
        ours = False
    else:
        ours = True
    assert swupdate_accepts(tmp_path, signature, trusted, *words) == ours
