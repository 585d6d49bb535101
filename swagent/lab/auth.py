"""Who may use the lab: JSON Web Tokens, signed by a key of a set; only ``LoginInfo`` needs none (boardswarm §2)."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from swagent.errors import RegistrationError, SettingsError

from .config import Jwks, Oidc
from .errors import Unauthenticated

if TYPE_CHECKING:
    import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""No HMAC, whose key every verifier would hold, and not ``none``."""
LEEWAY_S = 60
_TOKEN_BYTES_MAX = 16 * 1024
_KEY_SET_BYTES_MAX = 1024 * 1024
_PREFIX = "Bearer "


class Caller(NamedTuple):
    """Who asks: what a token says, once it is believed."""

    claims: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What to call them in messages and leases."""
        for claim in ("preferred_username", "name", "sub"):
            if isinstance(self.claims.get(claim), str):
                return str(self.claims[claim])[:120]
        return "somebody without a name"

    @property
    def identity(self) -> tuple[str, str]:
        """Who they are among all: two issuers may each have an alice, and a name may be chosen."""
        issuer, subject = self.claims.get("iss"), self.claims.get("sub")
        return str(issuer or ""), str(subject) if isinstance(subject, str) else f"called {self.name}"


class KeySet(Protocol):
    """Keys of one method of authentication, and what its tokens must say."""

    def holds(self, kid: str) -> bool:
        """Whether it has a key of this name."""
        ...

    def claims(self, token: str, kid: str, algorithm: str) -> Mapping[str, Any]:
        """What a token says.

        Raises:
            Unauthenticated: it is not to be believed.
        """
        ...


class Authenticator:
    """Judges tokens.

    Args:
        sets: asked in this order which one holds a token's key.
    """

    def __init__(self, sets: Sequence[KeySet]) -> None:
        self._sets = sets

    def replace(self, sets: Sequence[KeySet]) -> None:
        """Ask these from now on."""
        self._sets = sets

    def judge(self, header: str | None) -> Caller:
        """Who sends this ``authorization`` header.

        Raises:
            Unauthenticated: nobody who can be believed.
        """
        import jwt

        if header is None or not header.startswith(_PREFIX):
            raise Unauthenticated("a token is needed", hint="give one with --token-file")
        token = header.removeprefix(_PREFIX)
        if len(token) > _TOKEN_BYTES_MAX:
            raise Unauthenticated("this token is too long")
        try:
            head = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError) as exc:
            raise Unauthenticated("this is no token") from exc
        kid, algorithm = head.get("kid"), head.get("alg")
        if not isinstance(kid, str):
            raise Unauthenticated("this token does not name its key (kid)")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(f"tokens signed by {str(algorithm)[:20]} are not believed")
        for keys in self._sets:
            if keys.holds(kid):
                return Caller(keys.claims(token, kid, str(algorithm)))
        raise Unauthenticated("nobody here knows the key of this token")


class StaticKeys:
    """The keys of a JWKS file; ``exp`` is what their tokens must have.

    Args:
        path: of the file.

    Raises:
        SettingsError: it cannot be read, or a key in it cannot be used; upstream passes over the whole set then.
        RegistrationError: PyJWT is not installed.
    """

    def __init__(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                data = file.read(_KEY_SET_BYTES_MAX)
        except OSError as exc:
            raise SettingsError(f"cannot read the key set {path}: {exc.strerror}") from exc
        self._keys = read_key_set(data, path)

    def holds(self, kid: str) -> bool:
        """Whether it has a key of this name."""
        return kid in self._keys

    def claims(self, token: str, kid: str, algorithm: str) -> Mapping[str, Any]:
        """What a token says. Raises Unauthenticated."""
        return believed(token, self._keys[kid], algorithm)


def read_key_set(data: bytes, where: str, *, others: bool = False) -> "dict[str, jwt.PyJWK]":
    """The keys of a JWKS by their names.

    Args:
        data: the JSON.
        where: its place, for messages.
        others: pass over keys that cannot sign tokens here: an issuer has some for encryption, or of newer kinds.

    Raises:
        SettingsError: it is none, or a key in it cannot be used here; the message names it.
        RegistrationError: PyJWT is not installed.
    """
    try:
        import jwt
    except ImportError as exc:
        raise RegistrationError("the lab needs PyJWT", hint="pip install 'swagent[lab]'") from exc
    try:
        given = json.loads(data)["keys"]
        listed = [dict(one) for one in given]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SettingsError(f"{where} is no JSON Web Key Set") from exc
    found: dict[str, jwt.PyJWK] = {}
    for number, one in enumerate(listed):
        try:
            kid, key = _signing_key(one, number, where)
            if kid in found:
                raise SettingsError(f"{where}: key {number} must have a kid of its own")
            found[kid] = key
        except SettingsError:
            if not others:
                raise
    if others and not found:
        raise SettingsError(
            f"{where} has no key that signs tokens", hint=f"known are {', '.join(ALGORITHMS)}"
        )
    return found


def _signing_key(one: Mapping[str, Any], number: int, where: str) -> "tuple[str, jwt.PyJWK]":
    import jwt

    kid = one.get("kid")
    if not isinstance(kid, str):
        raise SettingsError(f"{where}: key {number} must have a kid of its own")
    unusable = one.get("alg", "EdDSA") not in ALGORITHMS or one.get("use", "sig") != "sig"
    if unusable or "d" in one or one.get("kty") == "oct":
        hint = "only public keys belong there" if "d" in one else f"known are {', '.join(ALGORITHMS)}"
        raise SettingsError(f"{where}: the key {kid!r} cannot be used", hint=hint)
    try:
        return kid, jwt.PyJWK(dict(one))
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise SettingsError(f"{where}: the key {kid!r} cannot be used: {exc}") from exc


def believed(token: str, key: "jwt.PyJWK", algorithm: str, **rules: Any) -> Mapping[str, Any]:
    """The claims of a token that this key has signed and that has not expired.

    Args:
        token: all of it.
        key: the one that it names.
        algorithm: the one that it names.
        rules: further arguments of ``jwt.decode``: audience, issuer, options.

    Raises:
        Unauthenticated: it has not, or it has.
    """
    import jwt

    options: Any = {"require": ["exp"], "verify_aud": False, "verify_nbf": False, "verify_iat": False}
    options |= rules.pop("options", {})
    if key.algorithm_name != algorithm and not (key.algorithm_name or "").startswith(algorithm[:2]):
        raise Unauthenticated("this token is not signed in the way of its key")
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, key.key, algorithms=[algorithm], leeway=LEEWAY_S, options=options, **rules
        )
    except jwt.ExpiredSignatureError as exc:
        raise Unauthenticated("this token has expired") from exc
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise Unauthenticated("this token is not to be believed") from exc
    return claims


def key_set(method: Oidc | Jwks) -> KeySet:
    """The keys of a method of a configuration.

    Raises:
        SettingsError: it cannot be used.
    """
    if isinstance(method, Jwks):
        return StaticKeys(method.path)
    from .oidc import IssuerKeys

    return IssuerKeys(method)
