"""Keys in PKCS#11 tokens, named by URIs (RFC 7512): the key scheme ``pkcs11``. They never leave the token.

What a URI may say: ``token``, ``serial``, ``manufacturer``, ``model`` and ``slot-id`` choose the token; ``object``,
``id`` and ``type`` the key; ``module-path`` the library of the token's maker (else the variable PKCS11_MODULE_PATH,
else p11-kit); ``pin-source`` a file with the PIN, or ``pin-value`` the PIN itself (else the variable PKCS11_PIN).
Anything else in a URI is refused, as RFC 7512 §2.3 asks. No message shows what stands behind the ``?``.

Needs python-pkcs11. Only the oldest mechanisms are asked for (RSA, PSS and ECDSA over a digest made here; AES-CBC),
which every token has that has the key.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.errors import DecryptError, RegistrationError, SettingsError

from . import der, keys
from .digest import sha256
from .uri import BlockKey, SigningKey

if TYPE_CHECKING:
    import pkcs11

DEFAULT_MODULE = "p11-kit-proxy.so"
MODULE_VARIABLE = "PKCS11_MODULE_PATH"
PIN_VARIABLE = "PKCS11_PIN"

_PATH_ATTRIBUTES = ("token", "serial", "manufacturer", "model", "slot-id", "object", "id", "type")
_QUERY_ATTRIBUTES = ("pin-source", "pin-value", "module-path")
_RSA_OID = "1.2.840.113549.1.1.1"
_SHA256_OID = "2.16.840.1.101.3.4.2.1"
_PIN_MAX_BYTES = 256


class TokenUri(NamedTuple):
    """A ``pkcs11:`` URI taken apart: values by attribute, percent-decoded; ``shown`` has no query."""

    path: dict[str, bytes]
    query: dict[str, bytes]
    shown: str

    def __repr__(self) -> str:
        return f"TokenUri({self.shown})"

    def text(self, name: str) -> str | None:
        """An attribute of the path as text."""
        value = self.path.get(name)
        return None if value is None else value.decode("utf-8", "replace")


def parse_uri(uri: str) -> TokenUri:
    """Take a URI apart (RFC 7512 §2.3).

    Raises:
        SettingsError: malformed, or an attribute that is not known here; shows no value of the query.
    """
    path, _, query = uri.partition(":")[2].partition("?")
    shown = f"pkcs11:{path}"
    return TokenUri(
        _attributes(path, ";", _PATH_ATTRIBUTES, shown),
        _attributes(query, "&", _QUERY_ATTRIBUTES, shown),
        shown,
    )


def _attributes(text: str, separator: str, known: tuple[str, ...], shown: str) -> dict[str, bytes]:
    from urllib.parse import unquote_to_bytes

    found: dict[str, bytes] = {}
    for pair in text.split(separator) if text else ():
        name, equals, value = pair.partition("=")
        if name not in known or not equals:
            # a name may be a misplaced value, and that a PIN: of the query it is not shown
            what = repr(name[:40]) if separator == ";" else "an attribute behind ?"
            raise SettingsError(f"{shown}: {what} is not known", hint=f"known are {', '.join(known)}")
        if name in found:
            raise SettingsError(f"{shown}: {name} is given twice")
        found[name] = unquote_to_bytes(value)
    return found


class TokenKeys:
    """Opens keys that are in tokens."""

    def signing_key(self, name: str, password: bytes | None) -> SigningKey:
        """A private key in a token.

        Args:
            name: the URI.
            password: the PIN; None to take it from where the URI says.

        Raises:
            SettingsError: no such token or key, a wrong PIN, too weak, or neither RSA nor EC.
            RegistrationError: python-pkcs11 is missing.
        """
        uri = parse_uri(name)
        session, key = _open(uri, "private", password)
        try:
            return TokenSigner(uri, session, key)
        except BaseException:
            session.close()
            raise

    def aes_key(self, name: str) -> BlockKey:
        """An AES key in a token; its session stays open as long as the process lives.

        Raises:
            SettingsError: no such token or key, or a wrong PIN.
            RegistrationError: python-pkcs11 is missing.
        """
        uri = parse_uri(name)
        session, key = _open(uri, "secret-key", None)
        return TokenCipher(uri, session, key)

    def shown(self, name: str) -> str:
        """The URI without its query, where a PIN may stand."""
        return name.partition("?")[0]


class TokenSigner:
    """A private key in a token; implements ``uri.SigningKey``."""

    def __init__(self, uri: TokenUri, session: "pkcs11.Session", key: Any) -> None:
        import pkcs11

        self.where = f"key {uri.shown}"
        self._session = session
        self._key = key
        with _translated(self.where):
            if key.key_type == pkcs11.KeyType.RSA:
                self.kind = "rsa"
                bits = int(key.key_length)
                if not keys.RSA_MIN_BITS <= bits <= keys.RSA_MAX_BITS:
                    raise SettingsError(
                        f"{self.where} has {bits} bits, {keys.RSA_MIN_BITS} to {keys.RSA_MAX_BITS} are accepted"
                    )
            elif key.key_type == pkcs11.KeyType.EC:
                self.kind = "ec"
                if not keys.is_accepted_curve(bytes(key[pkcs11.Attribute.EC_PARAMS])):
                    raise SettingsError(
                        f"{self.where} is on another curve than {', '.join(keys.CURVES.values())}"
                    )
            else:
                raise SettingsError(f"{self.where} is neither RSA nor EC")

    def sign(self, content: bytes, scheme: str) -> bytes:
        """Sign in the token; the digest is made here.

        Raises:
            SettingsError: the token refuses, or the scheme does not go with the key.
        """
        import pkcs11

        digest = sha256(content).digest()
        with _translated(self.where):
            if self.kind == "rsa" and scheme == "rsa":
                algorithm = der.write(der.SEQUENCE, der.write_oid(_SHA256_OID), der.write(der.NULL))
                info = der.write(der.SEQUENCE, algorithm, der.write(der.OCTET_STRING, digest))
                return bytes(self._key.sign(info, mechanism=pkcs11.Mechanism.RSA_PKCS))
            if self.kind == "rsa" and scheme == "rsa-pss":
                rule = (pkcs11.Mechanism.SHA256, pkcs11.MGF.SHA256, len(digest))
                return bytes(
                    self._key.sign(digest, mechanism=pkcs11.Mechanism.RSA_PKCS_PSS, mechanism_param=rule)
                )
            if self.kind == "ec" and scheme == "ecdsa":
                both = bytes(self._key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
                half = len(both) // 2
                return der.write(
                    der.SEQUENCE,
                    *(der.write_integer(int.from_bytes(part, "big")) for part in (both[:half], both[half:])),
                )
        raise SettingsError(f"{self.where} cannot sign by {scheme}")

    def public_der(self) -> bytes:
        """Its public half, which stands beside it in the token.

        Raises:
            SettingsError: it does not, or the token refuses.
        """
        import pkcs11
        from pkcs11.util.ec import encode_ec_public_key
        from pkcs11.util.rsa import encode_rsa_public_key

        with _translated(self.where):
            wanted = {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY,
                pkcs11.Attribute.ID: self._key[pkcs11.Attribute.ID],
            }
            found: list[Any] = list(self._session.get_objects(wanted))
            if len(found) != 1:
                raise SettingsError(
                    f"{self.where}: the token has {len(found) or 'no'} public key{'s' * (len(found) > 1)} beside it",
                    hint="put its public half there, with the same id",
                )
            if self.kind == "ec":
                return bytes(encode_ec_public_key(found[0]))
            numbers = der.write(der.BIT_STRING, b"\0", encode_rsa_public_key(found[0]))
            algorithm = der.write(der.SEQUENCE, der.write_oid(_RSA_OID), der.write(der.NULL))
            return der.write(der.SEQUENCE, algorithm, numbers)

    def close(self) -> None:
        """End the session."""
        with _translated(self.where):
            self._session.close()


class TokenCipher:
    """An AES key in a token; implements ``uri.BlockKey``."""

    def __init__(self, uri: TokenUri, session: "pkcs11.Session", key: Any) -> None:
        from threading import Lock

        import pkcs11

        self._where = f"key {uri.shown}"
        self._session = session  # the key lives as long as it
        self._key = key
        self._lock = Lock()  # a session does one thing at a time
        with _translated(self._where):
            if key.key_type != pkcs11.KeyType.AES:
                raise SettingsError(f"{self._where} is no AES key")
            self.size_bytes = int(key[pkcs11.Attribute.VALUE_LEN])

    def __repr__(self) -> str:
        return f"TokenCipher({self._where})"

    def close(self) -> None:
        """End the session; if it was the one that logged in, all others are logged out with it."""
        with _translated(self._where):
            self._session.close()

    def decrypt_blocks(self, iv: bytes, data: bytes) -> bytes:
        """Decrypt in the token.

        Raises:
            DecryptError: the token refuses, or is gone.
        """
        import pkcs11

        try:
            with self._lock:
                plain = self._key.decrypt(data, mechanism=pkcs11.Mechanism.AES_CBC, mechanism_param=iv)
        except pkcs11.PKCS11Error as exc:
            raise DecryptError(
                f"{self._where} cannot decrypt: {_reason(exc)}", hint="is the token still there?"
            ) from exc
        if len(plain) != len(data):
            raise DecryptError(f"{self._where} made {len(plain)} bytes of {len(data)}")
        return bytes(plain)


def _open(uri: TokenUri, kind: str, password: bytes | None) -> "tuple[pkcs11.Session, Any]":
    """A session with the token, logged in if there is a PIN, and the one key that the URI means."""
    try:
        import pkcs11
    except ImportError as exc:
        raise RegistrationError(
            "keys in PKCS#11 tokens need python-pkcs11", hint="pip install 'swagent[pkcs11]'"
        ) from exc
    wanted = uri.text("type") or ("private" if kind == "private" else "secret-key")
    if wanted != kind:
        raise SettingsError(f"{uri.shown} means a {wanted} object, a {kind} one is needed")
    if not uri.path.keys() & {"object", "id"}:
        raise SettingsError(f"{uri.shown} names no key", hint="add object=LABEL or id=%01")
    pin = _pin(uri, password)
    with _translated(f"token {uri.shown}"):
        token = _token(uri)
        try:
            session = token.open(user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:  # a token knows one login of a process, by whichever session
            session = token.open()
    try:
        with _translated(f"key {uri.shown}"):
            template: dict[Any, Any] = {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY
                if kind == "private"
                else pkcs11.ObjectClass.SECRET_KEY
            }
            if "object" in uri.path:
                template[pkcs11.Attribute.LABEL] = uri.text("object")
            if "id" in uri.path:
                template[pkcs11.Attribute.ID] = uri.path["id"]
            found = list(session.get_objects(template))
        if len(found) != 1:
            raise SettingsError(
                f"the token has {len(found) or 'no'} {kind} key{'s' * (len(found) != 1)} {uri.shown}",
                hint="" if pin or found else "without a PIN private objects are not seen: give pin-source=",
            )
        return session, found[0]
    except BaseException:
        session.close()
        raise


def _token(uri: TokenUri) -> "pkcs11.Token":
    import pkcs11

    path = uri.query.get("module-path", b"")
    module = os.fsdecode(path) if path else os.environ.get(MODULE_VARIABLE, "") or DEFAULT_MODULE
    try:
        library = pkcs11.lib(module)
    except (RuntimeError, OSError, ValueError) as exc:
        raise SettingsError(
            f"{uri.shown}: cannot load the PKCS#11 module {module}",
            hint=f"name your token's library with module-path= in the URI, or in {MODULE_VARIABLE}",
        ) from exc
    found, seen = [], []
    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
            continue
        facts = {
            "token": token.label,
            "serial": token.serial.decode("utf-8", "replace"),
            "manufacturer": token.manufacturer_id,
            "model": token.model,
            "slot-id": str(slot.slot_id),
        }
        seen.append(token.label)
        if all(facts[name] == uri.text(name) for name in facts if name in uri.path):
            found.append(token)
    if len(found) != 1:
        there = ", ".join(repr(label) for label in seen if label) or "none"
        raise SettingsError(
            f"{uri.shown} means {len(found) or 'no'} token{'s' * (len(found) > 1)}",
            hint=f"tokens that are there: {there}",
        )
    return found[0]


def _pin(uri: TokenUri, password: bytes | None) -> str | None:
    """The PIN, None to open the token without one."""
    if "pin-source" in uri.query and "pin-value" in uri.query:
        raise SettingsError(f"{uri.shown}: pin-source and pin-value are two PINs")
    if password is not None:
        pin = password
    elif "pin-source" in uri.query:
        source = os.fsdecode(uri.query["pin-source"])
        if source.startswith("|"):
            raise SettingsError(f"{uri.shown}: pin-source names a command", hint="name a file")
        pin = keys.read_secret_file(source, "PIN file").split(b"\n")[0].rstrip(b"\r")
    elif "pin-value" in uri.query:
        pin = uri.query["pin-value"]
    else:
        return os.environ.get(PIN_VARIABLE) or None
    if not pin or len(pin) > _PIN_MAX_BYTES or b"\0" in pin:
        raise SettingsError(f"{uri.shown}: the PIN is empty or longer than {_PIN_MAX_BYTES} bytes")
    return pin.decode("utf-8", "surrogateescape")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of the token as ours."""
    import pkcs11

    try:
        yield
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as exc:
        raise SettingsError(
            f"{what}: the PIN is wrong", hint="tokens lock themselves after a few wrong PINs"
        ) from exc
    except pkcs11.PinLocked as exc:
        raise SettingsError(f"{what}: the PIN is locked", hint="unlock it with the token's SO PIN") from exc
    except pkcs11.PKCS11Error as exc:
        raise SettingsError(f"{what} cannot be used: {_reason(exc)}") from exc
    except UnicodeError as exc:
        raise SettingsError(f"{what}: the PIN is no UTF-8") from exc


def _reason(exc: Exception) -> str:
    """Errors of python-pkcs11 are told apart by their class and often say no more."""
    return f"{type(exc).__name__} {exc}".strip()
