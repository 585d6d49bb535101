"""Digest authentication as SWUpdate's web server asks for it (RFC 7616; MD5 or SHA-256, qop auth)."""

import os
import re

_CHALLENGE = re.compile(r"\s*Digest\s+(.*)\Z", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r'([a-zA-Z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,\s*|\Z)')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


class Digest:
    """Answers one server's challenge, for any number of requests.

    Args:
        challenge: its header ``WWW-Authenticate``.
        user: name.
        password: of the user.

    Raises:
        ValueError: it is no challenge that can be answered.
    """

    def __init__(self, challenge: str, user: str, password: str) -> None:
        match = _CHALLENGE.match(challenge)
        if not (user + password).isprintable():
            raise ValueError("the user or the password has characters that no header can carry")
        if match is None or not challenge.isascii():
            raise ValueError("the server does not ask for Digest authentication")
        found = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or word
            for name, quoted, word in _PARAMETER.findall(match[1])
        }
        algorithm = found.get("algorithm", "MD5").upper()
        if algorithm not in _HASHES or "auth" not in re.split(r"[,\s]+", found.get("qop", "")):
            raise ValueError("the server asks for a kind of Digest authentication that nobody knows here")
        self._found = {name: found.get(name, "") for name in ("realm", "nonce", "opaque")}
        self._algorithm = algorithm
        self._user = user
        self._password = password
        self._count = 0

    def header(self, method: str, target: str) -> str:
        """The header ``Authorization`` of the next request."""
        self._count += 1
        count, own = f"{self._count:08x}", os.urandom(8).hex()
        realm, nonce, opaque = self._found["realm"], self._found["nonce"], self._found["opaque"]
        secret = self._hash(f"{self._user}:{realm}:{self._password}")
        response = self._hash(f"{secret}:{nonce}:{count}:{own}:auth:{self._hash(f'{method}:{target}')}")
        parts = [
            f'username="{_quoted(self._user)}"',
            f'realm="{_quoted(realm)}"',
            f'nonce="{_quoted(nonce)}"',
            f'uri="{_quoted(target)}"',
            f"algorithm={self._algorithm}",
            "qop=auth",
            f"nc={count}",
            f'cnonce="{own}"',
            f'response="{response}"',
            *([f'opaque="{_quoted(opaque)}"'] if opaque else []),
        ]
        return "Digest " + ", ".join(parts)

    def _hash(self, text: str) -> str:
        import hashlib

        return hashlib.new(_HASHES[self._algorithm], text.encode(), usedforsecurity=False).hexdigest()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
