"""Key files: PEM in, keys out. A key file is a path or a ``file:`` URI; ``uri`` knows of keys elsewhere.

Public keys of the usual kinds are built from their numbers, because ``cryptography``'s key loaders and its x509 cost
some 20 and 35 ms of start-up more; other encodings go to its loader. Certificates are only sorted out here.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from swagent.errors import SettingsError

from . import der

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

KEY_FILE_MAX_BYTES = 1 << 20
RSA_MIN_BITS = 2048
RSA_MAX_BITS = 16384
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_RSA = "1.2.840.113549.1.1.1"
_RSA_PSS = "1.2.840.113549.1.1.10"
_EC = "1.2.840.10045.2.1"
_EC_CURVES = {"1.2.840.10045.3.1.7": "SECP256R1", "1.3.132.0.34": "SECP384R1", "1.3.132.0.35": "SECP521R1"}


class PublicKey(NamedTuple):  # as Material no dataclass: those cost start-up
    """A key that signatures are checked with; exactly one of ``rsa`` and ``ec`` is set.

    Attributes:
        label: file name, with its number when the file holds several.
        pss_only: the key itself says that it may only be used with RSA-PSS.
    """

    label: str
    rsa: "RSAPublicKey | None" = None
    ec: "EllipticCurvePublicKey | None" = None
    pss_only: bool = False

    @property
    def kind(self) -> str:
        """How people see it: ``RSA 3072``, ``ECDSA P-256``."""
        if self.rsa is not None:
            return f"{'RSA-PSS' if self.pss_only else 'RSA'} {self.rsa.key_size}"
        return f"ECDSA {CURVES[self.ec.curve.name]}" if self.ec is not None else "nothing"


class Material(NamedTuple):
    """What the key files hold, still encoded: pairs of label and DER."""

    public_keys: tuple[tuple[str, bytes], ...]
    certificates: tuple[tuple[str, bytes], ...]


def path_of(key: str) -> str:
    """The path that a key's name means: a path, or a ``file:`` URI.

    Raises:
        SettingsError: another scheme, or a file on another host.
    """
    if not key.startswith("file:"):
        if ":" in key:
            from .uri import scheme_of, shown

            if scheme_of(key):
                raise SettingsError(
                    f"{shown(key)}: a file is needed here",
                    hint="a file whose name has a colon is written ./NAME",
                )
        return key
    path = key.removeprefix("file:")
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise SettingsError(f"key file {key} is on another host")
        path = slash + path
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    if not path:
        raise SettingsError(f"key file {key} names no file")
    return path


def read_file(key: str, what: str = "key file") -> bytes:
    """Contents of a small file that settings name.

    Raises:
        SettingsError: unreadable or larger than 1 MiB.
    """
    return _read(key, what, private=False)


def read_secret_file(key: str, what: str) -> bytes:
    """As ``read_file``, of a file that nobody but its owner may read or write.

    Raises:
        SettingsError: unreadable, larger than 1 MiB, or open to others.
    """
    return _read(key, what, private=True)


def _read(key: str, what: str, *, private: bool) -> bytes:
    path = path_of(key)
    try:
        with open(path, "rb") as file:
            if private:
                _check_private(os.fstat(file.fileno()), path, what)
            data = file.read(KEY_FILE_MAX_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL byte in the path
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise SettingsError(f"cannot read {what} {path}: {reason}") from exc
    if len(data) > KEY_FILE_MAX_BYTES:
        raise SettingsError(f"{what} {path} is larger than {KEY_FILE_MAX_BYTES} bytes")
    return data


def _check_private(found: os.stat_result, path: str, what: str) -> None:
    """Refuse a secret that others can read; one without a name (a pipe as from ``<(...)``, a memfd) is private."""
    import stat

    if stat.S_ISREG(found.st_mode) and found.st_nlink and stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingsError(
            f"{what} {path} is open to others than its owner (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {path}",
        )


def name_of(key: str) -> str:
    """File name of a key, for labels."""
    return path_of(key).rpartition("/")[2]


def pem_blocks(data: bytes) -> list[tuple[str, bytes]]:
    """The PEM blocks of a text: label such as ``PUBLIC KEY``, and the bytes inside. Text around them is ignored.

    Raises:
        ValueError: a block is not closed or not base64.
    """
    from binascii import a2b_base64

    blocks = []
    label: bytes = b""
    lines: list[bytes] = []
    for raw in data.splitlines():
        line = raw.strip()
        if not label:
            if line.startswith(b"-----BEGIN ") and line.endswith(b"-----"):
                label, lines = line[11:-5], []
        elif line.startswith(b"-----"):
            if line != b"-----END " + label + b"-----":
                raise ValueError(f"PEM block {label.decode('ascii', 'replace')} is not closed")
            blocks.append((label.decode("ascii", "replace"), a2b_base64(b"".join(lines), strict_mode=True)))
            label = b""
        else:
            lines.append(line)
    if label:
        raise ValueError(f"PEM block {label.decode('ascii', 'replace')} is not closed")
    return blocks


def load_material(key_files: Iterable[str]) -> Material:
    """Sort out what the key files hold.

    Raises:
        SettingsError: a file is unreadable, no PEM, or holds something that has no place in it.
    """
    public: list[tuple[str, bytes]] = []
    certificates: list[tuple[str, bytes]] = []
    for key in key_files:
        path, name = path_of(key), name_of(key)
        data = read_file(key)
        try:
            blocks = pem_blocks(data)
        except ValueError as exc:
            raise SettingsError(f"key file {path} is malformed: {exc}") from exc
        if not blocks:
            raise SettingsError(
                f"key file {path} holds no PEM public key and no certificate",
                hint="openssl pkey -inform DER -pubin -in KEY turns a DER key into PEM",
            )
        for number, (label, block) in enumerate(blocks, 1):
            shown = name if len(blocks) == 1 else f"{name}#{number}"
            if label == "PUBLIC KEY":
                public.append((shown, block))
            elif label == "CERTIFICATE":
                certificates.append((shown, block))
            else:
                secret = "PRIVATE" in label
                raise SettingsError(
                    f"key file {path} holds a {label.lower()}, only public keys and certificates belong there",
                    hint="openssl pkey -in KEY -pubout extracts the public key" if secret else "",
                )
    return Material(tuple(public), tuple(certificates))


def load_public_key(label: str, encoded: bytes) -> PublicKey:
    """A public key from its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).

    Raises:
        SettingsError: malformed, too weak, or of a kind that we do not verify with.
    """
    try:
        key = _from_numbers(label, encoded) or _from_loader(label, encoded)
    except (ValueError, OverflowError) as exc:
        raise SettingsError(f"public key {label} is malformed: {exc}") from exc
    check_strength(key)
    return key


def check_strength(key: PublicKey) -> None:
    """Refuse what is too weak or too large to be used.

    Raises:
        SettingsError: RSA below 2048 or above 16384 bits, or another curve than P-256, P-384 and P-521.
    """
    if key.rsa is not None and not RSA_MIN_BITS <= key.rsa.key_size <= RSA_MAX_BITS:
        raise SettingsError(
            f"RSA key {key.label} has {key.rsa.key_size} bits, {RSA_MIN_BITS} to {RSA_MAX_BITS} are accepted",
            hint="openssl genrsa 3072 makes a good one",
        )
    if key.ec is not None and key.ec.curve.name not in CURVES:
        raise SettingsError(
            f"EC key {key.label} is on {key.ec.curve.name}; {', '.join(CURVES.values())} are accepted"
        )


def _from_numbers(label: str, encoded: bytes) -> PublicKey | None:
    spki = der.Fields(der.read(encoded, der.SEQUENCE).body, "key")
    algorithm = der.Fields(spki.take(der.SEQUENCE).body, "algorithm")
    bits = spki.take(der.BIT_STRING).body
    spki.end()
    kind = der.oid(algorithm.take(der.OID).body)
    parameters = algorithm.rest()
    if bits[:1] != b"\0" or not parameters:
        return None
    if kind == _RSA:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

        numbers = der.Fields(der.read(bits[1:], der.SEQUENCE).body, "RSA key")
        modulus, exponent = (der.integer(numbers.take(der.INTEGER).body) for _ in range(2))
        numbers.end()
        return PublicKey(label, rsa=RSAPublicNumbers(exponent, modulus).public_key())
    if kind == _EC and parameters[0].tag == der.OID:
        curve = _EC_CURVES.get(der.oid(parameters[0].body))
        if curve is not None:
            from cryptography.hazmat.primitives.asymmetric import ec

            return PublicKey(
                label, ec=ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, curve)(), bits[1:])
            )
    return None


def _from_loader(label: str, encoded: bytes) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SettingsError(f"public key {label} cannot be used: {exc}") from exc
    if isinstance(key, rsa.RSAPublicKey):
        return PublicKey(label, rsa=key, pss_only=is_pss_only(encoded))
    if isinstance(key, ec.EllipticCurvePublicKey):
        return PublicKey(label, ec=key)
    raise SettingsError(f"public key {label} is neither RSA nor EC", hint="use RSA 3072 or EC P-256")


def is_accepted_curve(parameters: bytes) -> bool:
    """Whether EC parameters in DER name one of the curves that we verify with (RFC 5480 §2.1.1)."""
    try:
        return der.oid(der.read(parameters, der.OID).body) in _EC_CURVES
    except ValueError:
        return False


def is_pss_only(encoded: bytes) -> bool:
    """Whether a SubjectPublicKeyInfo is of the kind id-RSASSA-PSS (RFC 4055 §1.2).

    Raises:
        ValueError: malformed.
    """
    spki = der.Fields(der.read(encoded, der.SEQUENCE).body, "key")
    algorithm = der.Fields(spki.take(der.SEQUENCE).body, "algorithm")
    return der.oid(algorithm.take(der.OID).body) == _RSA_PSS


def load_private_key(key_file: str, password: bytes | None) -> "RSAPrivateKey | EllipticCurvePrivateKey":
    """A private key from a PEM file that only its owner may read.

    Raises:
        SettingsError: unreadable, open to others, wrong password, too weak, or neither RSA nor EC.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = path_of(key_file)
    data = read_secret_file(key_file, "key file")
    try:
        key = load_pem_private_key(data, password)
    except TypeError as exc:  # that is how cryptography tells a password missing, or given in vain
        if password is None:
            raise SettingsError(f"key file {path} is encrypted", hint="give its password") from exc
        raise SettingsError(f"key file {path} is not encrypted, but a password is given") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        reason = "wrong password, or not a private key" if password else "it holds no PEM private key"
        raise SettingsError(f"key file {path} cannot be used: {reason}") from exc
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SettingsError(f"key file {path} is neither RSA nor EC")
    public = key.public_key()
    name = name_of(key_file)
    check_strength(
        PublicKey(name, rsa=public) if isinstance(public, rsa.RSAPublicKey) else PublicKey(name, ec=public)
    )
    return key
