"""Tokens of a lab that has no issuer: a signing key, the key set that its server believes, and what it signs."""

import json
import os
import secrets
from collections.abc import Mapping
from typing import Any

from swagent.errors import RegistrationError, SettingsError
from swagent.store.atomic import replace

DAY_S = 86_400


def make_key(key_file: str, set_file: str) -> None:
    """A new Ed25519 key as a JSON Web Key, readable by its owner alone, and the key set with its public half.

    Raises:
        SettingsError: one of the files is there already, or cannot be written.
        RegistrationError: PyJWT is not installed.
    """
    jwt = _jwt()
    from swagent.crypto.schemes import generate

    for path in (key_file, set_file):
        if os.path.lexists(path):
            raise SettingsError(
                f"{path} is there already", hint="a new key would make all its tokens worthless"
            )
    algorithm = jwt.algorithms.OKPAlgorithm()
    private = algorithm.prepare_key(generate().pem())
    names = {"kid": secrets.token_hex(8), "use": "sig", "alg": "EdDSA"}
    key = {**json.loads(algorithm.to_jwk(private)), **names}
    public = {name: value for name, value in key.items() if name != "d"}
    try:
        replace(key_file, json.dumps(key).encode() + b"\n", mode=0o600)
        replace(set_file, json.dumps({"keys": [public]}).encode() + b"\n")
    except OSError as exc:
        raise SettingsError(f"cannot write {exc.filename or key_file}: {exc.strerror}") from exc


def make_token(key_file: str, claims: Mapping[str, Any], *, now_s: float, days: float) -> str:
    """A token that is good for so many days from now on.

    Raises:
        SettingsError: the key cannot be used.
        RegistrationError: PyJWT is not installed.
    """
    jwt = _jwt()
    from swagent.crypto.keys import read_secret_file

    try:
        key = json.loads(read_secret_file(key_file, "key file"))
        private = jwt.PyJWK(key)
        head = {"kid": key["kid"]}
    except (ValueError, KeyError, TypeError, jwt.PyJWTError) as exc:
        raise SettingsError(
            f"{key_file} is no key for tokens", hint="`swagent lab token --new` makes one"
        ) from exc
    times = {"iat": int(now_s), "exp": int(now_s + days * DAY_S)}
    return str(jwt.encode({**claims, **times}, private.key, key.get("alg", "EdDSA"), head))


def _jwt() -> Any:
    try:
        import jwt
    except ImportError as exc:
        raise RegistrationError("the lab needs PyJWT", hint="pip install 'swagent[lab]'") from exc
    return jwt
