"""Signatures as Uptane and TUF name them: a kind of key, a scheme, public values as hex or PEM.

Nothing here believes a key identifier: whoever asks has looked the key up, and gets yes or no.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from swagent.errors import SettingsError

from . import keys, uri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

ED25519 = "ed25519"
RSA_PSS = "rsassa-pss-sha256"
ECDSA_P256 = "ecdsa-sha2-nistp256"
SCHEMES = {
    ED25519: ("ed25519", ""),
    RSA_PSS: ("rsa", "SHA256"),
    "rsassa-pss-sha384": ("rsa", "SHA384"),
    "rsassa-pss-sha512": ("rsa", "SHA512"),
    ECDSA_P256: ("ecdsa", "SHA256"),
    "ecdsa-sha2-nistp384": ("ecdsa", "SHA384"),
}
"""Scheme to the kind of key it needs, and its hash."""
_CURVE_OF = {ECDSA_P256: ("ECDSA P-256",), "ecdsa-sha2-nistp384": ("ECDSA P-384",)}
_PUBLIC_MAX = 8192  # characters: an RSA key of 16384 bits has less than 3000


class PublicKey(NamedTuple):
    """A key that is ready to check signatures.

    Attributes:
        identity: the same for one public value however it was written; what thresholds are counted by.
    """

    scheme: str
    identity: bytes
    ed25519: "Ed25519PublicKey | None" = None
    other: keys.PublicKey | None = None

    def made(self, signature: bytes, content: bytes) -> bool:
        """Whether this key made ``signature`` over ``content``."""
        from cryptography.exceptions import InvalidSignature

        try:
            if self.ed25519 is not None:
                self.ed25519.verify(signature, content)
            elif self.other is not None:
                _verify(self.other, self.scheme, signature, content)
            else:
                return False
        except InvalidSignature:
            return False
        return True


def load(scheme: str, public: str) -> PublicKey:
    """A public key by its scheme.

    Args:
        scheme: one of ``SCHEMES``.
        public: 64 hexadecimal digits for Ed25519, else SubjectPublicKeyInfo in PEM.

    Raises:
        ValueError: unknown scheme, malformed, too weak, or of another kind than the scheme needs.
    """
    kind = SCHEMES.get(scheme, ("", ""))[0]
    if not kind:
        raise ValueError(f"scheme {scheme[:40]!r} is unknown")
    if len(public) > _PUBLIC_MAX:
        raise ValueError("public value is too long")
    if kind == "ed25519":
        return _load_ed25519(public)
    blocks = keys.pem_blocks(public.encode())
    if len(blocks) != 1 or blocks[0][0] != "PUBLIC KEY":
        raise ValueError("public value is not one PEM public key")
    try:
        key = keys.load_public_key("", blocks[0][1])
    except SettingsError as exc:
        raise ValueError(exc.message) from exc
    if (key.rsa is None) != (kind == "ecdsa"):
        raise ValueError(f"scheme {scheme} does not go with {key.kind}")
    if key.kind not in _CURVE_OF.get(scheme, (key.kind,)):
        raise ValueError(f"scheme {scheme} does not go with {key.kind}")
    return PublicKey(scheme, _numbers(key), other=key)


def kind_of_pem(data: bytes) -> tuple[str, str]:
    """Kind (``ed25519``, ``rsa``, ``ecdsa``) and public value, as ``load`` takes it, of a PEM public key.

    Raises:
        ValueError: it is none, or of another kind.
    """
    blocks = keys.pem_blocks(data)
    if len(blocks) != 1 or blocks[0][0] != "PUBLIC KEY":
        raise ValueError("no single PEM public key")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(blocks[0][1])
    except UnsupportedAlgorithm as exc:
        raise ValueError(str(exc)) from exc
    if isinstance(key, Ed25519PublicKey):
        return "ed25519", key.public_bytes_raw().hex()
    text = data.decode("ascii")
    if isinstance(key, RSAPublicKey):
        return "rsa", text
    if isinstance(key, EllipticCurvePublicKey):
        return "ecdsa", text
    raise ValueError("a public key of another kind than Ed25519, RSA and EC")


def _load_ed25519(public: str) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = bytes.fromhex(public)
    if len(raw) != 32 or len(public) != 64:
        raise ValueError("an Ed25519 public value has 64 hexadecimal digits")
    return PublicKey(ED25519, raw, ed25519=Ed25519PublicKey.from_public_bytes(raw))


def _numbers(key: keys.PublicKey) -> bytes:
    """A key's numbers, so that two encodings of one key count once."""
    if key.rsa is not None:
        numbers = key.rsa.public_numbers()
        return f"rsa {numbers.n:x} {numbers.e:x}".encode()
    if key.ec is None:
        raise ValueError("no key")
    point = key.ec.public_numbers()
    return f"{key.ec.curve.name} {point.x:x} {point.y:x}".encode()


def _verify(key: keys.PublicKey, scheme: str, signature: bytes, content: bytes) -> None:
    from cryptography.hazmat.primitives import hashes

    algorithm: hashes.HashAlgorithm = getattr(hashes, SCHEMES[scheme][1])()
    if key.rsa is not None:
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS

        # the salt has the digest's length; other lengths are taken, too
        key.rsa.verify(signature, content, PSS(MGF1(algorithm), PSS.AUTO), algorithm)
    elif key.ec is not None:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        key.ec.verify(signature, content, ECDSA(algorithm))


class Signing(Protocol):
    """What signs by one scheme, wherever it is."""

    scheme: str
    public: str

    @property
    def kind(self) -> str:
        """``ed25519``, ``rsa`` or ``ecdsa``."""
        ...

    def sign(self, content: bytes) -> bytes:
        """The signature over ``content``."""
        ...


class PrivateKey:
    """A key that signs by one scheme.

    Args:
        key: as ``cryptography`` has it.
        scheme: one of ``SCHEMES``; "" for the usual one of its kind.

    Attributes:
        scheme: the scheme.
        public: the public value, as ``load`` takes it.

    Raises:
        ValueError: the scheme does not go with the key.
    """

    def __init__(
        self, key: "Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey", scheme: str = ""
    ) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._ed25519 = key if isinstance(key, Ed25519PrivateKey) else None
        self._rsa = key if isinstance(key, RSAPrivateKey) else None
        self._ec = key if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey) else None
        if self._ed25519 is not None:
            self.public = self._ed25519.public_key().public_bytes_raw().hex()
            usual = ED25519
        else:
            encoded = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.public = encoded.decode()
            usual = RSA_PSS if self._rsa is not None else ECDSA_P256
            if self._ec is not None and self._ec.curve.name == "secp384r1":
                usual = "ecdsa-sha2-nistp384"
        self.scheme = scheme or usual
        self._key = key
        load(self.scheme, self.public)

    @property
    def kind(self) -> str:
        """``ed25519``, ``rsa`` or ``ecdsa``."""
        return SCHEMES[self.scheme][0]

    def sign(self, content: bytes) -> bytes:
        """The signature over ``content``."""
        from cryptography.hazmat.primitives import hashes

        if self._ed25519 is not None:
            return self._ed25519.sign(content)
        algorithm: hashes.HashAlgorithm = getattr(hashes, SCHEMES[self.scheme][1])()
        if self._rsa is not None:
            from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS

            return self._rsa.sign(content, PSS(MGF1(algorithm), algorithm.digest_size), algorithm)
        if self._ec is None:
            raise ValueError("no key")
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        return self._ec.sign(content, ECDSA(algorithm))

    def pem(self, password: bytes | None = None) -> bytes:
        """The private key as PKCS#8 PEM, for a file of mode 0600; encrypted when there is a password."""
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            KeySerializationEncryption,
            NoEncryption,
            PrivateFormat,
        )

        how: KeySerializationEncryption = (
            NoEncryption() if password is None else BestAvailableEncryption(password)
        )
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def generate(scheme: str = ED25519) -> PrivateKey:
    """A new key.

    Raises:
        ValueError: the scheme is unknown.
    """
    kind = SCHEMES.get(scheme, ("", ""))[0]
    if kind == "ed25519":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return PrivateKey(Ed25519PrivateKey.generate())
    if kind == "rsa":
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        return PrivateKey(generate_private_key(65537, 3072), scheme)
    if kind == "ecdsa":
        from cryptography.hazmat.primitives.asymmetric import ec

        return PrivateKey(
            ec.generate_private_key(ec.SECP384R1() if "384" in scheme else ec.SECP256R1()), scheme
        )
    raise ValueError(f"scheme {scheme[:40]!r} is unknown")


def from_seed(seed: bytes) -> PrivateKey:
    """The Ed25519 key of a seed of 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return PrivateKey(Ed25519PrivateKey.from_private_bytes(seed))


class KeyElsewhere:
    """A key that signs where it is, such as in a token; a ``Signing`` as ``PrivateKey`` is.

    Args:
        key: what ``uri`` opened.

    Attributes:
        scheme: the scheme.
        public: the public value, as ``load`` takes it.

    Raises:
        SettingsError: a key that no scheme of SHA-256 goes with.
    """

    def __init__(self, key: uri.SigningKey) -> None:
        from base64 import encodebytes

        self._key = key
        self.scheme, self._how = (RSA_PSS, "rsa-pss") if key.kind == "rsa" else (ECDSA_P256, "ecdsa")
        text = encodebytes(key.public_der()).decode().replace("\n", "")
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        self.public = "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
        try:
            load(self.scheme, self.public)
        except ValueError as exc:
            raise SettingsError(f"{key.where} cannot be used: {exc}") from exc

    @property
    def kind(self) -> str:
        """``rsa`` or ``ecdsa``."""
        return SCHEMES[self.scheme][0]

    def sign(self, content: bytes) -> bytes:
        """The signature over ``content``.

        Raises:
            SettingsError: whoever holds the key refuses, or is gone.
        """
        return self._key.sign(content, self._how)


def open_private(name: str) -> Signing:
    """A private key by its name: a path, or a URI of a scheme that ``uri`` knows.

    Raises:
        SettingsError: it cannot be used.
        RegistrationError: what opens such URIs cannot be loaded.
    """
    if uri.scheme_of(name) in ("", "file"):
        return load_private(name)
    return KeyElsewhere(uri.find(name).signing_key(name, None))


def load_private(name: str, password: bytes | None = None) -> PrivateKey:
    """A private key from a PEM file that only its owner may read.

    Args:
        name: path or ``file:`` URI.
        password: of the file, None if it is not encrypted.

    Raises:
        SettingsError: unreadable, open to others, wrong password, or of a kind that cannot be used.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = keys.path_of(name)
    data = keys.read_secret_file(name, "key file")
    try:
        key = load_pem_private_key(data, password)
        if isinstance(key, Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey):
            return PrivateKey(key)
    except (TypeError, ValueError, UnsupportedAlgorithm) as exc:
        raise SettingsError(f"key file {path} cannot be used: {exc}") from exc
    raise SettingsError(f"key file {path} is neither Ed25519, RSA nor EC")
