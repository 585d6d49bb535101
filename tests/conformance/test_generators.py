"""Images of every maker (openssl by hand, swugenerator, ``swagent make``) in both programs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import AES_IV, AES_KEY, KeyRing
from tests.programs import cpio, must, need, run_swagent, run_swupdate

from .bench import HARDWARE, Bench, files, images, software, to_device, to_file

A, B = b"content of a\n" * 300, bytes(range(256)) * 40
DISK = b"\xa5" * 0x4000
HOLDS = {"a": A, "disk": B + DISK[len(B) :]}


@dataclass(frozen=True)
class Image:
    """How an image is made.

    Attributes:
        name: of the row.
        make: makes ``bench.update`` of the files a and b.
        trusted: field of the key ring that swagent gets with ``-k``.
        words: more words for both.
        ok: SWUpdate's verdict; it gets the certificate.
        exit: swagent's status.
        differs: topic of the compatibility page.
        needs: programs.
    """

    name: str
    make: Callable[[Bench], None]
    trusted: str = "cert"
    words: tuple[str, ...] = ()
    ok: bool = True
    exit: int = 0
    differs: str = ""
    needs: tuple[str, ...] = ()
    quick: bool = False


def description(attributes: dict[str, object], *, hashes: bool) -> str:
    """a as a file, b into a device."""
    given = attributes if hashes else {**attributes, "sha256": None}
    return software(files(to_file("a", **given)), images(to_device("b", **given)))


# -- by hand


def by_hand(*sign: str) -> Callable[[Bench], None]:
    """openssl signs with these words, cpio packs."""

    def make(bench: Bench) -> None:
        parts = bench.folder / "parts"
        parts.mkdir()
        (parts / "a").write_bytes(A)
        (parts / "b").write_bytes(B)
        text = bench.text(description({}, hashes=True), {"a": A, "b": B})
        (parts / "sw-description").write_text(text)
        words = [_of_ring(word, bench.key_ring) for word in sign]
        must(["openssl", *words], cwd=parts)
        bench.update.write_bytes(cpio(parts, ("sw-description", "sw-description.sig", "a", "b")))

    return make


def _of_ring(word: str, ring: KeyRing) -> Path | str:
    """``@name`` stands for a file of the key ring."""
    if not word.startswith("@"):
        return word
    path: Path = getattr(ring, word[1:])
    return path


DGST = ("dgst", "-sha256", "-out", "sw-description.sig")
CMS = ("cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-nosmimecap", "-binary")
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt")


# -- swugenerator


def generated(
    attributes: dict[str, object], *options: str, sign: str = "CMS,@key,@cert"
) -> Callable[[Bench], None]:
    def make(bench: Bench) -> None:
        sources = bench.folder / "sources"
        sources.mkdir()
        (sources / "a").write_bytes(A)
        (sources / "b").write_bytes(B)
        (sources / "template").write_text(bench.text(description(attributes, hashes=False)))
        (sources / "keys").write_text(f"key={AES_KEY.hex()}\niv={AES_IV.hex()}\n")
        kind, *files_of_ring = sign.split(",")
        names = [str(_of_ring(word, bench.key_ring)) for word in files_of_ring]
        must(
            ["swugenerator", "-s", "template", "-a", ".", "-o", bench.update, "-k", ",".join([kind, *names]),
             *options, "create"],
            cwd=sources,
        )  # fmt: skip

    return make


# -- swagent make


def ours(attributes: dict[str, object], *options: str) -> Callable[[Bench], None]:
    def make(bench: Bench) -> None:
        sources = bench.folder / "sources"
        sources.mkdir()
        (sources / "a").write_bytes(A)
        (sources / "b").write_bytes(B)
        (sources / "template").write_text(bench.text(description(attributes, hashes=False)))
        words = [_of_ring(word, bench.key_ring) for word in options]
        done = run_swagent(["make", "-s", "sources/template", "-o", bench.update, *words], bench.folder)
        assert done.ok, done.text

    return make


OUR_CMS = ("-k", "@key", "--certificate", "@cert")
AES = ("-K", "@aes")
SCHEMES = "kinds of signatures"
GENERATOR = ("swugenerator",)

IMAGES = [
    Image("hand-cms", by_hand(*CMS, "-outform", "DER", "-signer", "@cert", "-inkey", "@key"), quick=True),
    Image(
        "hand-cms-attached",
        by_hand(*CMS, "-outform", "DER", "-nodetach", "-signer", "@cert", "-inkey", "@key"),
    ),
    Image(
        "hand-cms-no-attributes",
        by_hand(*CMS, "-outform", "DER", "-noattr", "-signer", "@cert", "-inkey", "@key"),
    ),
    Image(
        "hand-cms-key-id", by_hand(*CMS, "-outform", "DER", "-keyid", "-signer", "@cert", "-inkey", "@key")
    ),
    Image(
        "hand-cms-sha512",
        by_hand(*CMS, "-outform", "DER", "-md", "sha512", "-signer", "@cert", "-inkey", "@key"),
    ),
    Image(
        "hand-cms-pss",
        by_hand(
            *CMS, "-outform", "DER", "-signer", "@cert", "-inkey", "@key", "-keyopt", "rsa_padding_mode:pss"
        ),
    ),
    Image(
        "hand-cms-two-signers-one-unknown",
        by_hand(
            *CMS,
            "-outform",
            "DER",
            "-signer",
            "@cert",
            "-inkey",
            "@key",
            "-signer",
            "@stranger_cert",
            "-inkey",
            "@stranger_key",
        ),
        exit=20,
        differs="several signers",
    ),
    Image(
        "hand-cms-no-certificate",
        by_hand(*CMS, "-outform", "DER", "-nocerts", "-signer", "@cert", "-inkey", "@key"),
        ok=False,
        differs="signatures without certificates",
    ),
    Image(
        "hand-cms-pem",
        by_hand(*CMS, "-outform", "PEM", "-signer", "@cert", "-inkey", "@key"),
        ok=False,
        exit=20,
    ),
    Image(
        "hand-cms-stranger",
        by_hand(*CMS, "-outform", "DER", "-signer", "@stranger_cert", "-inkey", "@stranger_key"),
        ok=False,
        exit=20,
        quick=True,
    ),
    Image(
        "hand-rsa",
        by_hand(*DGST, "-sign", "@key", "sw-description"),
        "public",
        ok=False,
        differs=SCHEMES,
        quick=True,
    ),
    Image(
        "hand-rsa-pss",
        by_hand(*DGST, "-sign", "@key", *PSS, "rsa_pss_saltlen:-2", "sw-description"),
        "public",
        ok=False,
        differs=SCHEMES,
    ),
    Image(
        "hand-rsa-pss-digest-salt",
        by_hand(*DGST, "-sign", "@key", *PSS, "rsa_pss_saltlen:-1", "sw-description"),
        "public",
        ok=False,
        differs=SCHEMES,
    ),
    Image(
        "hand-ecdsa",
        by_hand(*DGST, "-sign", "@ec_key", "sw-description"),
        "ec_public",
        ok=False,
        differs=SCHEMES,
    ),
    Image("hand-rsa-for-a-certificate", by_hand(*DGST, "-sign", "@key", "sw-description"), ok=False, exit=20),
    Image(
        "hand-rsa-stranger",
        by_hand(*DGST, "-sign", "@stranger_key", "sw-description"),
        "public",
        ok=False,
        exit=20,
    ),
    Image("generator-cms", generated({}), needs=GENERATOR, quick=True),
    Image(
        "generator-rsa", generated({}, sign="RSA,@key"), "public", ok=False, differs=SCHEMES, needs=GENERATOR
    ),
    Image("generator-zlib", generated({"compressed": "zlib"}), needs=GENERATOR),
    # this version packs everything with gzip, whatever the description says
    Image("generator-zstd", generated({"compressed": "zstd"}), ok=False, exit=10, needs=GENERATOR),
    Image("generator-zlib-off", generated({"compressed": "zlib"}, "-n"), ok=False, exit=10, needs=GENERATOR),
    Image("generator-aes", generated({"encrypted": True}, "-K", "keys"), words=AES, needs=GENERATOR),
    Image(
        "generator-aes-zlib",
        generated({"encrypted": True, "compressed": "zlib"}, "-K", "keys"),
        words=AES,
        needs=GENERATOR,
        quick=True,
    ),
    Image(
        "generator-aes-one-iv", generated({"encrypted": True}, "-K", "keys", "-x"), words=AES, needs=GENERATOR
    ),
    Image(
        "generator-aes-description",
        generated({"encrypted": True}, "-K", "keys", "-t"),
        words=AES,
        ok=False,
        differs="encrypted sw-description",
        needs=GENERATOR,
    ),
    Image("ours-cms", ours({}, *OUR_CMS), quick=True),
    Image("ours-cms-newc", ours({}, *OUR_CMS, "--format", "newc")),
    Image("ours-cms-ec", ours({}, "-k", "@ec_key", "--certificate", "@ec_cert"), "ec_cert"),
    Image("ours-rsa", ours({}, "-k", "@key"), "public", ok=False, differs=SCHEMES),
    Image("ours-rsa-pss", ours({}, "-k", "@key", "--scheme", "rsa-pss"), "public", ok=False, differs=SCHEMES),
    Image("ours-ecdsa", ours({}, "-k", "@ec_key"), "ec_public", ok=False, differs=SCHEMES),
    Image("ours-zlib", ours({"compressed": "zlib"}, *OUR_CMS)),
    Image("ours-zstd", ours({"compressed": "zstd"}, *OUR_CMS), quick=True),
    Image("ours-xz", ours({"compressed": "xz"}, *OUR_CMS), ok=False, differs="xz"),
    Image("ours-aes", ours({"encrypted": True}, *OUR_CMS, *AES), words=AES),
    Image(
        "ours-aes-zstd",
        ours({"encrypted": True, "compressed": "zstd"}, *OUR_CMS, *AES),
        words=AES,
        quick=True,
    ),
    Image(
        "ours-aes-description",
        ours({"encrypted": True}, *OUR_CMS, *AES, "--encrypt-description"),
        words=AES,
        ok=False,
        differs="encrypted sw-description",
    ),
    Image("ours-direct", ours({"installed-directly": True, "compressed": "zstd"}, *OUR_CMS)),
]


def image_params() -> list[object]:
    found: list[object] = []
    for image in IMAGES:
        assert bool(image.differs) == (image.ok != (image.exit == 0)), image.name
        found.append(pytest.param(image, id=image.name, marks=[] if image.quick else [pytest.mark.slow]))
    return found


@pytest.mark.parametrize("image", image_params())
def test_generators(image: Image, tmp_path: Path, key_ring: KeyRing) -> None:
    need("openssl", *image.needs)
    bench = Bench(tmp_path, key_ring)
    device = {"disk": DISK}
    bench.fresh(device)
    image.make(bench)
    trusted = _of_ring(f"@{image.trusted}", key_ring)
    words = ["-i", bench.update, *HARDWARE, *(_of_ring(word, key_ring) for word in image.words)]
    # Debian's build takes nothing but certificates
    certificate = trusted if image.trusted.endswith("cert") else key_ring.cert
    theirs = run_swupdate([*words, "-k", certificate], tmp_path, fresh=lambda: bench.fresh(device))
    assert theirs.ok == image.ok, theirs.text
    if image.ok:
        bench.holds(HOLDS, theirs)
    bench.fresh(device)
    done = run_swagent([*words, "-k", trusted], tmp_path)
    assert done.code == image.exit, done.text
    bench.holds(HOLDS if image.exit == 0 else device, done)
