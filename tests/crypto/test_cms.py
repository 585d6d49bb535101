"""CMS by the real ``openssl``: every rule of the chain, each verdict held against ``openssl cms -verify``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from swagent.crypto import der
from swagent.crypto.signature import Signer, Trust, check, verify
from swagent.crypto.signing import sign
from swagent.errors import SettingsError, SignatureError
from tests.crypto.pki import (
    CODE,
    DAY_S,
    EMAIL,
    NOW_S,
    SIGN,
    TLS_SERVER,
    Issued,
    Key,
    Wish,
    certify,
    cms_accepts,
    cms_sign,
    crl,
    ec_key,
    name,
    openssl,
    public_pem,
    root_wish,
    rsa_key,
    write,
)

CONTENT = b'software = { version = "1.0"; };\n'
ROOT = certify(root_wish())
LEAF = certify(Wish(), ROOT)
OTHER = certify(root_wish("other root"))


class Bench:
    """A folder with trust files, and the question asked of both verifiers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def trust(self, *trusted: Issued) -> str:
        return write(self.folder / "trust.pem", *(item.pem for item in trusted))

    def sign(self, *signers: Issued, carry: tuple[Issued, ...] = (), words: tuple[str, ...] = ()) -> bytes:
        return cms_sign(self.folder, CONTENT, *signers, carry=carry, words=words)

    def accept(self, signature: bytes, *trusted: Issued, purpose: str = "", now_s: float = NOW_S) -> Signer:
        """Both accept."""
        path = self.trust(*trusted)
        assert cms_accepts(self.folder, CONTENT, signature, path, now_s=now_s)
        return verify(
            CONTENT, signature, Trust((path,), cert_purpose=purpose or "emailProtection"), now_s=now_s
        )

    def refuse(
        self,
        signature: bytes,
        *trusted: Issued,
        why: str,
        purpose: str = "emailProtection",
        now_s: float = NOW_S,
        openssl_agrees: bool = True,
    ) -> SignatureError:
        """We refuse, and unless we are stricter by intention openssl does."""
        path = self.trust(*trusted)
        with pytest.raises(SignatureError, match=why) as caught:
            verify(CONTENT, signature, Trust((path,), cert_purpose=purpose), now_s=now_s)
        if openssl_agrees:
            assert not cms_accepts(self.folder, CONTENT, signature, path, now_s=now_s)
        else:
            assert cms_accepts(self.folder, CONTENT, signature, path, now_s=now_s)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# -- what passes


@pytest.mark.parametrize(
    "words",
    [(), ("-md", "sha256"), ("-md", "sha384"), ("-md", "sha512"), ("-noattr",), ("-keyid",), ("-nodetach",)],
    ids=" ".join,
)
@pytest.mark.parametrize("key", [rsa_key(), ec_key(), ec_key(0, "SECP521R1")], ids=["rsa", "P-256", "P-521"])
def test_every_form_of_a_signature(bench: Bench, words: tuple[str, ...], key: Key) -> None:
    leaf = certify(Wish(), ROOT, key)
    assert bench.accept(bench.sign(leaf, words=words), ROOT) == Signer("release", "CMS")


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
@pytest.mark.parametrize("salt", ["-1", "-2", "0", "20"])
def test_rsa_pss(bench: Bench, digest: str, salt: str) -> None:
    leaf = certify(Wish(), ROOT, rsa_key())
    words = ("-md", digest, "-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}")
    source = write(bench.folder / "c", CONTENT)
    signature = openssl(
        "cms", "-sign", "-in", source, "-outform", "DER", "-nosmimecap", "-binary", "-signer",
        write(bench.folder / "leaf.pem", leaf.pem), "-inkey", write(bench.folder / "k", _private(leaf)), *words,
    )  # fmt: skip
    assert bench.accept(signature, ROOT).label == "release"
    _refused_when_changed(bench, signature, ROOT)


def test_a_certificate_that_is_for_pss_only(bench: Bench) -> None:
    key_file, pem = bench.folder / "pss.key", bench.folder / "pss.pem"
    openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key_file)
    words = ("-subj", "/O=Works/CN=release", "-set_serial", "4711", "-days", "3650")
    openssl("req", "-x509", "-key", key_file, "-out", pem, *words)
    certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    now_s = certificate.not_valid_before_utc.timestamp() + 60
    trust = Trust((str(pem),))
    source = write(bench.folder / "c", CONTENT)
    command = ("cms", "-sign", "-in", source, "-outform", "DER", "-nosmimecap", "-binary", "-signer", pem)
    signature = openssl(*command, "-inkey", key_file, "-keyopt", "rsa_padding_mode:pss")
    assert verify(CONTENT, signature, trust, now_s=now_s).label == "release"
    with pytest.raises(SettingsError, match="for RSA-PSS only"):
        sign(CONTENT, key_file=str(key_file), certificate_file=str(pem))
    # the same key, by a certificate that does not say so
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    plain = certify(Wish(), key=key, serial=4711)
    plain_file = write(bench.folder / "plain.pem", plain.pem)
    signature = sign(CONTENT, key_file=str(key_file), certificate_file=plain_file)
    changed = _rebuild(signature, certificates=[certificate.public_bytes(serialization.Encoding.DER)])
    with pytest.raises(SignatureError, match="for RSA-PSS only"):
        verify(CONTENT, changed, trust, now_s=now_s)


def _private(item: Issued) -> bytes:
    return item.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _refused_when_changed(bench: Bench, signature: bytes, *trusted: Issued) -> None:
    """The last byte belongs to the signature itself."""
    changed = signature[:-1] + bytes([signature[-1] ^ 1])
    with pytest.raises(SignatureError):
        verify(CONTENT, changed, Trust((bench.trust(*trusted),)), now_s=NOW_S)
    with pytest.raises(SignatureError):
        verify(CONTENT + b" ", signature, Trust((bench.trust(*trusted),)), now_s=NOW_S)


@pytest.mark.parametrize("words", [(), ("-noattr",)])
def test_what_was_changed_is_refused(bench: Bench, words: tuple[str, ...]) -> None:
    signature = bench.sign(LEAF, words=words)
    bench.accept(signature, ROOT)
    _refused_when_changed(bench, signature, ROOT)


def test_a_chain_by_intermediates(bench: Bench) -> None:
    one = certify(root_wish("one"), ROOT)
    two = certify(root_wish("two"), one)
    leaf = certify(Wish(), two)
    bench.accept(bench.sign(leaf, carry=(two, one)), ROOT)
    bench.accept(bench.sign(leaf, carry=(two,)), ROOT, one)
    bench.accept(bench.sign(leaf), ROOT, two, one)
    bench.refuse(bench.sign(leaf, carry=(two,)), ROOT, why="chain of release is incomplete.*CN=one")
    # the way must end at a self-signed one
    bench.refuse(bench.sign(leaf), two, why="incomplete.*CN=one")
    bench.refuse(bench.sign(leaf, carry=(two, one, ROOT)), two, why="root root is not among the trusted")


def test_a_second_issuer_of_the_same_name_is_tried(bench: Bench) -> None:
    impostor = certify(replace(root_wish(), identifiers=False))
    expired = certify(replace(root_wish(), not_after_s=NOW_S - DAY_S), key=ROOT.key)
    leaf = certify(replace(Wish(), identifiers=False), ROOT)
    path = bench.trust(impostor, expired, ROOT)  # openssl takes the first of the name, and gives up
    assert verify(CONTENT, bench.sign(leaf), Trust((path,)), now_s=NOW_S).label == "release"


def test_a_self_signed_signer_in_the_key_file(bench: Bench) -> None:
    own = certify(replace(Wish(), ca=None))
    signature = bench.sign(own)
    bench.accept(signature, own)
    bench.refuse(signature, ROOT, why="root release is not among the trusted")


def test_the_usual_certificate_of_openssl_req(bench: Bench, tmp_path: Path) -> None:
    key, pem = tmp_path / "mycert.key.pem", tmp_path / "mycert.cert.pem"
    words = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        pem,
        "-subj",
        "/O=W/CN=me",
    ]
    openssl(*map(str, words))
    parsed = x509.load_pem_x509_certificate(pem.read_bytes())
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    item = Issued(private, parsed)  # type: ignore[arg-type]  # RSA, as asked for
    now_s = parsed.not_valid_before_utc.timestamp() + 60
    assert bench.accept(bench.sign(item), item, now_s=now_s).label == "me"


def test_without_certificates_the_signer_is_looked_up_in_the_key_file(bench: Bench) -> None:
    for words in (("-nocerts",), ("-nocerts", "-keyid")):
        signature = bench.sign(LEAF, words=words)
        path = bench.trust(ROOT, LEAF)
        assert verify(CONTENT, signature, Trust((path,)), now_s=NOW_S).label == "release"
        bench.refuse(signature, ROOT, why="neither in the signature nor in the key files")


# -- validity, purpose, what authorities may do


@pytest.mark.parametrize("which", ["leaf", "middle", "root"])
@pytest.mark.parametrize(
    ("now_s", "why"), [(NOW_S + 11 * DAY_S, "has expired on"), (NOW_S - 11 * DAY_S, "is not valid before")]
)
def test_validity(bench: Bench, which: str, now_s: float, why: str) -> None:
    def dated(wish: Wish, mine: str) -> Wish:
        short = replace(wish, not_before_s=NOW_S - 10 * DAY_S, not_after_s=NOW_S + 10 * DAY_S)
        return short if mine == which else wish

    root = certify(dated(root_wish(), "root"))
    middle = certify(dated(root_wish("middle"), "middle"), root)
    leaf = certify(dated(Wish(), "leaf"), middle)
    signature = bench.sign(leaf, carry=(middle,))
    bench.accept(signature, root)
    error = bench.refuse(signature, root, why=why, now_s=now_s)
    assert "set the clock" in error.hint


def test_a_clock_without_a_reading_is_refused(bench: Bench) -> None:
    with pytest.raises(SignatureError, match="not valid before"):
        verify(CONTENT, bench.sign(LEAF), Trust((bench.trust(ROOT),)), now_s=float("nan"))


@pytest.mark.parametrize(
    ("purpose", "wanted", "accepted"),
    [
        (EMAIL, "emailProtection", True),
        (None, "emailProtection", True),
        (CODE, "emailProtection", False),
        (TLS_SERVER, "emailProtection", False),
        (CODE, "codeSigning", True),
        (None, "codeSigning", False),
        (EMAIL, "codeSigning", False),
    ],
)
@pytest.mark.parametrize("which", ["leaf", "authority"])
def test_purpose(
    bench: Bench, purpose: x509.ObjectIdentifier | None, wanted: str, accepted: bool, which: str
) -> None:
    purposes = (purpose, TLS_SERVER) if purpose else None
    good = (EMAIL if wanted == "emailProtection" else CODE,)
    leaf_has, authority_has = (purposes, None) if which == "leaf" else (good, purposes)
    if which == "authority" and purpose is None:
        accepted = True
    root = certify(replace(root_wish(), purposes=authority_has))
    leaf = certify(replace(Wish(), purposes=leaf_has), root)
    signature = bench.sign(leaf)
    path = bench.trust(root)
    if wanted == "emailProtection":
        assert cms_accepts(bench.folder, CONTENT, signature, path) == accepted
    trust = Trust((path,), cert_purpose=wanted)
    if accepted:
        verify(CONTENT, signature, trust, now_s=NOW_S)
    else:
        with pytest.raises(SignatureError, match=f"not made for {wanted}|lacks the extended key usage"):
            verify(CONTENT, signature, trust, now_s=NOW_S)


@pytest.mark.parametrize(
    ("usages", "accepted"),
    [(None, True), (SIGN, True), (("content_commitment",), True), (("key_encipherment",), False)],
)
def test_key_usage_of_the_signer(bench: Bench, usages: tuple[str, ...] | None, accepted: bool) -> None:
    signature = bench.sign(certify(replace(Wish(), usages=usages), ROOT))
    if accepted:
        bench.accept(signature, ROOT)
    else:
        bench.refuse(signature, ROOT, why="may not sign")


@pytest.mark.parametrize(
    ("wish", "why", "openssl_agrees"),
    [
        (replace(root_wish("middle"), ca=False), "no authority", True),
        (replace(root_wish("middle"), ca=None, usages=None), "no authority", True),
        (replace(root_wish("middle"), ca=None), "no authority", True),
        (replace(root_wish("middle"), usages=("crl_sign",)), "lacks keyCertSign", True),
        (
            replace(
                root_wish("middle"),
                extras=((x509.NameConstraints([x509.DNSName("example.org")], None), True),),
            ),
            "name constraints",
            False,
        ),
        (
            replace(
                root_wish("middle"),
                extras=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"), True),),
            ),
            "unknown critical extension 1.2.3.4",
            True,
        ),
    ],
    ids=["not-ca", "no-constraints", "usage-only", "no-cert-sign", "name-constraints", "critical"],
)
def test_what_an_authority_must_be(bench: Bench, wish: Wish, why: str, openssl_agrees: bool) -> None:
    middle = certify(wish, ROOT)
    signature = bench.sign(certify(Wish(), middle), carry=(middle,))
    bench.refuse(signature, ROOT, why=why, openssl_agrees=openssl_agrees)


def by_openssl(folder: Path, wish: Wish, issuer: Issued, *words: str) -> Issued:
    """Issued again by ``openssl x509``, which makes what cryptography refuses to."""
    draft = certify(replace(wish, identifiers=False, not_after_s=NOW_S + 36500 * DAY_S))
    issuer_pem, key = write(folder / "i.pem", issuer.pem), write(folder / "i.key", _private(issuer))
    renew = ["x509", "-in", write(folder / "draft.pem", draft.pem), "-CA", issuer_pem, "-CAkey", key, *words]
    pem = openssl(*renew, "-days", "36500", "-set_serial", "77")
    return Issued(draft.key, x509.load_pem_x509_certificate(pem))


@pytest.mark.parametrize("which", ["leaf", "middle", "self-issued"])
def test_chains_with_sha1_are_refused(bench: Bench, which: str) -> None:
    root = certify(replace(root_wish(), not_after_s=NOW_S + 36500 * DAY_S))
    words = ("-sha1",) if which != "leaf" else ()
    names = ("root",) if which == "self-issued" else ("middle",)
    middle = by_openssl(bench.folder, root_wish(*names), root, *words)
    leaf = by_openssl(bench.folder, Wish(), middle, *(("-sha1",) if which == "leaf" else ()))
    now_s = middle.certificate.not_valid_before_utc.timestamp() + 3600
    signature = bench.sign(leaf, carry=(middle,))
    agrees = which == "self-issued"  # it takes the root, which has the same name, and finds another key
    bench.refuse(signature, root, why="is signed with sha1", now_s=now_s, openssl_agrees=agrees)


def test_a_signer_is_no_authority(bench: Bench) -> None:
    forged = certify(Wish(names=("forged",)), LEAF)
    bench.refuse(bench.sign(forged, carry=(LEAF,)), ROOT, why="release, which issued forged, is no authority")


def test_path_length(bench: Bench) -> None:
    root = certify(replace(root_wish(), path_length=1))
    one = certify(root_wish("one"), root)
    two = certify(root_wish("two"), one)
    bench.accept(bench.sign(certify(Wish(), one), carry=(one,)), root)
    bench.refuse(
        bench.sign(certify(Wish(), two), carry=(one, two)), root, why="allows 1 authorities below it"
    )


def test_a_chain_is_not_too_long(bench: Bench) -> None:
    chain = [ROOT]
    for number in range(8):
        chain.append(certify(root_wish(f"level {number}"), chain[-1]))
    signature = bench.sign(certify(Wish(), chain[-1]), carry=tuple(chain[1:]))
    bench.refuse(signature, ROOT, why="longer than 8", openssl_agrees=False)


def test_certificates_that_branch_are_bounded(bench: Bench) -> None:
    """Two authorities that certified each other ten times: every order of those is a way, none leads to a root."""
    one, two = (
        certify(replace(root_wish(label), identifiers=False), OTHER, ec_key(number))
        for label, number in (("one", 70), ("two", 71))
    )
    carry = [certify(replace(root_wish("one"), identifiers=False), two, ec_key(70)) for _ in range(10)]
    carry += [certify(replace(root_wish("two"), identifiers=False), one, ec_key(71)) for _ in range(10)]
    signature = bench.sign(certify(replace(Wish(), identifiers=False), one), carry=tuple(carry))
    with pytest.raises(SignatureError, match="more than 64 certificate signatures"):
        verify(CONTENT, signature, Trust((bench.trust(ROOT),)), now_s=NOW_S)


def test_a_forged_issuer_name(bench: Bench) -> None:
    """Says that the root issued it, but another key did."""
    forger = Issued(ec_key(5), ROOT.certificate)
    leaf = certify(replace(Wish(), identifiers=False), forger)
    bench.refuse(bench.sign(leaf), ROOT, why="was not signed by root")


def test_another_certificate_with_the_name_and_number_of_the_signer(bench: Bench) -> None:
    signature = bench.sign(LEAF)
    other = certify(Wish(), ROOT, ec_key(3), LEAF.certificate.serial_number)
    alone = _rebuild(signature, certificates=[other.encoded])
    bench.refuse(alone, ROOT, why="not made by the key of release")
    both = _rebuild(
        signature, certificates=sorted([other.encoded, LEAF.encoded], key=lambda e: e != other.encoded)
    )
    assert verify(CONTENT, both, Trust((bench.trust(ROOT),)), now_s=NOW_S).label == "release"


# -- several signers, forced name


def test_all_signers_must_be_trusted(bench: Bench) -> None:
    stranger = certify(Wish(names=("stranger",)), certify(root_wish("other root")))
    second = certify(Wish(names=("second",)), ROOT)
    assert bench.accept(bench.sign(LEAF, second), ROOT).label in ("release, second", "second, release")
    for signers in ((LEAF, stranger), (stranger, LEAF)):
        bench.refuse(bench.sign(*signers), ROOT, why="chain of stranger is incomplete")


def test_forced_name(bench: Bench) -> None:
    path = bench.trust(ROOT)

    def asked(wanted: str, *signers: Issued) -> Signer:
        signature = bench.sign(*signers)
        return verify(CONTENT, signature, Trust((path,), forced_signer_name=wanted), now_s=NOW_S)

    assert asked("release", LEAF).label == "release"
    second = certify(Wish(names=("second",)), ROOT)
    two_names = certify(Wish(names=("release", "other")), ROOT)
    no_name = certify(Wish(names=()), ROOT)
    for wanted, *signers in (
        ("Release", LEAF),
        ("releas", LEAF),
        ("release", LEAF, second),
        ("release", second, LEAF),
        ("release", two_names),
        ("release", no_name),
    ):
        with pytest.raises(SignatureError, match="common name must be"):
            asked(str(wanted), *[item for item in signers if isinstance(item, Issued)])


def test_names_do_not_steer_the_terminal(bench: Bench) -> None:
    leaf = certify(Wish(names=("\x1b[2Jme\n" + "x" * 50,)), ROOT)
    assert bench.accept(bench.sign(leaf), ROOT).label == "?[2Jme?" + "x" * 50
    stranger = certify(Wish(), certify(root_wish("\x1b]0;boss\x07")))
    assert "\x1b" not in bench.refuse(bench.sign(stranger), ROOT, why="boss").message


def test_a_certificate_with_a_broken_name(bench: Bench) -> None:
    """cryptography notices only when the name is asked for."""
    encoded = LEAF.encoded.replace(b"\x0c\x04root", b"\x0c\x04\xff\xff\xff\xff")
    assert encoded != LEAF.encoded
    with pytest.raises(SignatureError, match="certificate 1 of the CMS signature is malformed"):
        verify(
            CONTENT,
            _rebuild(bench.sign(LEAF), certificates=[encoded]),
            Trust((bench.trust(ROOT),)),
            now_s=NOW_S,
        )


# -- revocation


def crl_pem(*lists: x509.CertificateRevocationList) -> bytes:
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in lists)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (crl_pem(crl(ROOT)), ""),
        (crl(ROOT).public_bytes(serialization.Encoding.DER), ""),
        (crl_pem(crl(OTHER, LEAF), crl(ROOT)), ""),
        (crl_pem(crl(ROOT, until_s=NOW_S - 1, from_s=NOW_S - DAY_S), crl(ROOT)), ""),
        (crl_pem(crl(ROOT, LEAF)), "release is revoked"),
        (crl_pem(crl(ROOT, LEAF), crl(ROOT)), "release is revoked"),
        (crl_pem(crl(ROOT, LEAF, from_s=NOW_S - 9 * DAY_S, until_s=NOW_S - DAY_S)), "release is revoked"),
        (crl_pem(crl(OTHER)), "no revocation list of root"),
        (crl_pem(crl(ROOT, key=ec_key(9))), "no revocation list of root"),
        (crl_pem(crl(Issued(ROOT.key, OTHER.certificate))), "no revocation list of root"),
        (crl_pem(crl(ROOT, from_s=NOW_S - 9 * DAY_S, until_s=NOW_S - DAY_S)), "has expired"),
        (crl_pem(crl(ROOT, from_s=NOW_S + DAY_S, until_s=NOW_S + 2 * DAY_S)), "not valid before"),
    ],
    ids=["pem", "der", "two-issuers", "old-and-new", "revoked", "revoked-in-one", "revoked-in-old",
         "other", "forged", "other-name", "expired", "future"],
)  # fmt: skip
def test_revocation(bench: Bench, data: bytes, why: str) -> None:
    trust = Trust((bench.trust(ROOT),), crl_path=write(bench.folder / "crl", data))
    check(trust)
    signature = bench.sign(LEAF)
    if why:
        with pytest.raises(SignatureError, match=why):
            verify(CONTENT, signature, trust, now_s=NOW_S)
    else:
        assert verify(CONTENT, signature, trust, now_s=NOW_S).label == "release"


def test_a_root_that_may_not_sign_lists(bench: Bench) -> None:
    root = certify(replace(root_wish(), usages=("key_cert_sign",)))
    path = write(bench.folder / "crl", crl_pem(crl(root)))
    with pytest.raises(SignatureError, match="lacks cRLSign"):
        verify(
            CONTENT,
            bench.sign(certify(Wish(), root)),
            Trust((bench.trust(root),), crl_path=path),
            now_s=NOW_S,
        )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        crl_pem(crl(ROOT))[:-30],
        ROOT.pem,
        crl(ROOT).public_bytes(serialization.Encoding.DER)[:-1],
    ],
    ids=["empty", "junk", "cut-pem", "certificate", "cut-der"],
)
def test_malformed_lists(bench: Bench, data: bytes) -> None:
    trust = Trust((bench.trust(ROOT),), crl_path=write(bench.folder / "crl", data))
    for attempt in (lambda: check(trust), lambda: verify(CONTENT, bench.sign(LEAF), trust, now_s=NOW_S)):
        with pytest.raises(SettingsError, match="revocation list"):
            attempt()


def test_a_partial_list_is_refused(bench: Bench) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name("root"))
        .last_update(crl(ROOT).last_update_utc)
        .next_update(crl(ROOT).last_update_utc.replace(year=2030))
        .add_extension(x509.DeltaCRLIndicator(1), True)
    )
    assert isinstance(ROOT.key, type(ec_key()))
    path = write(bench.folder / "crl", crl_pem(builder.sign(ROOT.key, hashes.SHA256())))
    with pytest.raises(SettingsError, match="unknown critical extension"):
        check(Trust((bench.trust(ROOT),), crl_path=path))


# -- the container


def _tree(blob: bytes) -> tuple[list[der.Element], list[der.Element]]:
    """Fields of SignedData, and of its first signer."""
    info = der.Fields(der.read(blob, der.SEQUENCE).body, "").rest()
    data = der.Fields(der.read(info[1].body, der.SEQUENCE).body, "").rest()
    signer = der.Fields(data[-1].body, "").rest()[0]
    return data, der.Fields(signer.body, "").rest()


def _rebuild(
    blob: bytes,
    *,
    signer: Callable[[list[bytes]], None] | None = None,
    data: Callable[[list[bytes]], None] | None = None,
    certificates: list[bytes] | None = None,
) -> bytes:
    """The container with some of its fields changed."""
    outer, inner = _tree(blob)
    fields = [item.raw for item in outer]
    parts = [item.raw for item in inner]
    if signer:
        signer(parts)
    fields[-1] = der.write(der.SET, der.write(der.SEQUENCE, *parts))
    if certificates is not None:
        fields[-2] = der.write(der.CONTEXT_0, *certificates)
    if data:
        data(fields)
    signed = der.write(der.SEQUENCE, *fields)
    return der.write(der.SEQUENCE, der.write_oid("1.2.840.113549.1.7.2"), der.write(der.CONTEXT_0, signed))


def test_the_rebuilding_rebuilds(bench: Bench) -> None:
    signature = bench.sign(LEAF)
    assert _rebuild(signature) == signature


def test_attached_content_must_be_the_content(bench: Bench) -> None:
    signature = cms_sign(bench.folder, b"something else", LEAF, words=("-nodetach",))
    with pytest.raises(SignatureError, match="not what it is to vouch for"):
        verify(CONTENT, signature, Trust((bench.trust(ROOT),)), now_s=NOW_S)
    with pytest.raises(SignatureError, match="not what it is to vouch for"):
        verify(b"", signature, Trust((bench.trust(ROOT),)), now_s=NOW_S)


def test_changed_attributes(bench: Bench) -> None:
    signature = bench.sign(LEAF)

    def other_time(parts: list[bytes]) -> None:
        at = parts[3].index(b"Z") - 1
        parts[3] = parts[3][:at] + bytes([parts[3][at] ^ 1]) + parts[3][at + 1 :]

    def none(parts: list[bytes]) -> None:
        del parts[3]

    bench.refuse(_rebuild(signature, signer=other_time), ROOT, why="not made by the key of release")
    bench.refuse(_rebuild(signature, signer=none), ROOT, why="not made by the key of release")


def test_attributes_do_not_pass_for_content(bench: Bench) -> None:
    """The bytes that were really signed, presented as content without attributes."""
    signature = bench.sign(LEAF)
    attributes = _tree(signature)[1][3]
    content = der.write(der.SET, attributes.body)

    def none(parts: list[bytes]) -> None:
        del parts[3]

    changed = _rebuild(signature, signer=none)
    assert cms_accepts(
        bench.folder, content, changed, bench.trust(ROOT)
    )  # which shows that the attack is real
    with pytest.raises(SignatureError, match="looks like signed attributes"):
        verify(content, changed, Trust((bench.trust(ROOT),)), now_s=NOW_S)


OID_DATA = der.write_oid("1.2.840.113549.1.7.1")
SHA1 = der.write(der.SEQUENCE, der.write_oid("1.3.14.3.2.26"))


def _attribute(kind: str, *values: bytes) -> bytes:
    return der.write(der.SEQUENCE, der.write_oid(kind), der.write(der.SET, *values))


CONTENT_TYPE = _attribute("1.2.840.113549.1.9.3", OID_DATA)
DIGEST = _attribute("1.2.840.113549.1.9.4", der.write(der.OCTET_STRING, bytes(32)))


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ([CONTENT_TYPE], "lack the message digest"),
        ([DIGEST], "lack the content type"),
        ([CONTENT_TYPE, DIGEST, DIGEST], "occurs twice"),
        ([CONTENT_TYPE, _attribute("1.2.840.113549.1.9.4")], "malformed"),
        ([_attribute("1.2.840.113549.1.9.3", OID_DATA, OID_DATA), DIGEST], "malformed"),
        ([_attribute("1.2.840.113549.1.9.3", der.write_oid("1.2.840.113549.1.7.2")), DIGEST], "not data"),
        ([CONTENT_TYPE, DIGEST], "signed something else"),
        ([der.write(der.NULL)], "no sequence"),
        ([], "lack the content type"),
    ],
)
def test_attributes_that_must_be_there(bench: Bench, attributes: list[bytes], why: str) -> None:
    def change(parts: list[bytes]) -> None:
        parts[3] = der.write(der.CONTEXT_0, *attributes)

    bench.refuse(_rebuild(bench.sign(LEAF), signer=change), ROOT, why=why)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        (0, der.write_integer(3), "version 3 of SignerInfo"),
        (2, SHA1, "digest algorithm 1.3.14.3.2.26"),
        (4, SHA1, "signature algorithm 1.3.14.3.2.26"),
        (4, der.write(der.SEQUENCE, der.write_oid("1.2.840.10045.4.3.3")), "with SHA256"),
        (4, der.write(der.SEQUENCE, der.write_oid("1.2.840.113549.1.1.1")), "has an EC key"),
        (4, der.write(der.SEQUENCE, der.write_oid("1.2.840.113549.1.1.10")), "RSA-PSS without parameters"),
        (5, der.write(der.OCTET_STRING, b""), "not made by the key"),
        (5, der.write(der.NULL), "lacks a value"),
    ],
)
def test_fields_of_a_signer(bench: Bench, field: int, value: bytes, why: str) -> None:
    def change(parts: list[bytes]) -> None:
        parts[field] = value

    signature = _rebuild(bench.sign(LEAF), signer=change)
    with pytest.raises(SignatureError, match=why):
        verify(CONTENT, signature, Trust((bench.trust(ROOT),)), now_s=NOW_S)


def test_sha1_by_openssl(bench: Bench) -> None:
    bench.refuse(bench.sign(LEAF, words=("-md", "sha1")), ROOT, why="digest algorithm", openssl_agrees=False)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fields: fields.__setitem__(-1, der.write(der.SET)), "0 signers"),
        (lambda fields: fields.__setitem__(0, der.write_integer(9)), "version 9"),
        (
            lambda fields: fields.__setitem__(2, der.write(der.SEQUENCE, der.write_oid("1.2.3"))),
            "signed content of type 1.2.3",
        ),
        (lambda fields: fields.append(der.write(der.NULL)), "more fields"),
    ],
)
def test_fields_of_the_container(bench: Bench, change: Callable[[list[bytes]], None], why: str) -> None:
    signature = _rebuild(bench.sign(LEAF), data=change)
    with pytest.raises(SignatureError, match=why):
        verify(CONTENT, signature, Trust((bench.trust(ROOT),)), now_s=NOW_S)


def test_many_signers_and_certificates(bench: Bench) -> None:
    signature = bench.sign(LEAF)
    path = bench.trust(ROOT)
    signer = der.write(der.SEQUENCE, *(item.raw for item in _tree(signature)[1]))
    crowd = _rebuild(signature, data=lambda fields: fields.__setitem__(-1, der.write(der.SET, *[signer] * 9)))
    for blob, why in (
        (crowd, "9 signers"),
        (_rebuild(signature, certificates=[LEAF.encoded] * 33), "33 certificates"),
        (
            _rebuild(signature, certificates=[LEAF.encoded, der.write(der.SEQUENCE)]),
            "certificate 2 of the CMS",
        ),
    ):
        with pytest.raises(SignatureError, match=why):
            verify(CONTENT, blob, Trust((path,)), now_s=NOW_S)


@pytest.mark.parametrize("behind", [b"\0", b"\0\0", b"junk"])
def test_bytes_behind_the_signature(bench: Bench, behind: bytes) -> None:
    bench.refuse(bench.sign(LEAF) + behind, ROOT, why="follow the end", openssl_agrees=False)


def test_forms_that_are_not_der(bench: Bench) -> None:
    signature = bench.sign(LEAF)
    bench.refuse(signature[:-1], ROOT, why="cut short")
    streamed = bench.sign(LEAF, words=("-stream",))
    if streamed[1] == 0x80:
        bench.refuse(streamed, ROOT, why="DER does not know", openssl_agrees=False)
    text = openssl("cms", "-cmsout", "-inform", "DER", "-outform", "PEM", stdin=signature)
    bench.refuse(text, ROOT, why="PEM")


def test_a_cms_signature_needs_a_certificate(bench: Bench) -> None:
    path = write(bench.folder / "p.pem", public_pem(LEAF.key))
    with pytest.raises(SignatureError, match=r"public keys only: p\.pem"):
        verify(CONTENT, bench.sign(LEAF), Trust((path,)), now_s=NOW_S)
    with pytest.raises(SignatureError, match="no trusted key"):
        verify(CONTENT, bench.sign(LEAF), Trust((path,), scheme="ecdsa"), now_s=NOW_S)


# -- certificates that cannot be used at all


def test_weak_and_foreign_keys(bench: Bench) -> None:
    weak = certify(Wish(), ROOT, rsa_key(0, 1024))
    signature = bench.sign(weak)
    with pytest.raises(SignatureError, match="1024 bits"):
        verify(CONTENT, signature, Trust((bench.trust(ROOT),)), now_s=NOW_S)
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder().subject_name(name("e")).issuer_name(name("e")).serial_number(1)
    builder = builder.not_valid_before(ROOT.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(ROOT.certificate.not_valid_after_utc).public_key(key.public_key())
    pem = builder.sign(key, None).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(SettingsError, match=r"e\.pem cannot be used: its key is neither RSA nor EC"):
        check(Trust((write(bench.folder / "e.pem", pem),)))


def test_a_broken_certificate_in_the_key_file(bench: Bench) -> None:
    lines = ROOT.pem.splitlines(keepends=True)
    path = write(bench.folder / "broken.pem", ROOT.pem, *lines[:2], lines[-1])
    with pytest.raises(SettingsError, match=r"broken\.pem#2 cannot be used"):
        check(Trust((path,)))
