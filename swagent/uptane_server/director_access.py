"""Who may give a Director orders: operators with a password for the page and a token for programs.

Both are kept as digests in the inventory, and so are sessions: every worker knows them, and whoever reads the database
learns none.
"""

import hashlib
import secrets
from binascii import Error
from typing import NamedTuple

from swagent.crypto.digest import same, sha256
from swagent.errors import SettingsError

from .director import Director

SESSION_S = 12 * 3600
PASSWORD_MIN, PASSWORD_MAX, NAME_MAX = 10, 1024, 64
_N, _R, _P, _SALT_BYTES = 1 << 14, 8, 1, 16


class Session(NamedTuple):
    """Somebody is logged in on the page.

    Attributes:
        key: what the cookie holds.
        operator: who that is.
    """

    key: str
    operator: str

    @property
    def form_key(self) -> str:
        """What every form of this session must bring back; no other site can know it."""
        return sha256(f"form {self.key}".encode()).hexdigest()


class Access:
    """Knows operators.

    Args:
        director: whose.
        everybody: whether nobody is asked who they are: in a testbed.
    """

    def __init__(self, director: Director, *, everybody: bool = False) -> None:
        self._director = director
        self.everybody = everybody
        self._nobody = hashed("nobody has this password")

    def add(self, name: str, password: str) -> str:
        """A new operator, or a new password and token for one; returns the token, which is shown this once.

        Raises:
            SettingsError: a name or password that cannot be used.
        """
        if not (name.isprintable() and 0 < len(name) <= NAME_MAX and ":" not in name):
            raise SettingsError(f"{name[:60]!r} is no name for an operator")
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise SettingsError(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
        token = secrets.token_urlsafe(32)
        with self._director.inventory.change() as fleet:
            fleet.keep_operator(name, hashed(password), _digest(token))
        return token

    def remove(self, name: str) -> None:
        """Nobody is let in by that name any more.

        Raises:
            SettingsError: there is no such operator.
        """
        with self._director.inventory.change() as fleet:
            if not fleet.drop_operator(name):
                raise SettingsError(f"there is no operator {name[:60]!r}")

    def of_header(self, authorization: str) -> str:
        """Whom an ``Authorization`` header names, by ``Bearer`` or ``Basic``; "" for nobody."""
        if self.everybody:
            return "everybody"
        kind, _, words = authorization.partition(" ")
        if kind.lower() == "bearer" and len(words) < 200:
            with self._director.inventory.look() as fleet:
                return fleet.operator_of_token(_digest(words.strip()))
        if kind.lower() == "basic" and len(words) < 4 * PASSWORD_MAX:
            from base64 import b64decode

            try:
                name, colon, password = b64decode(words, validate=True).decode().partition(":")
            except (Error, ValueError):
                return ""
            return name if colon and self._knows(name, password) else ""
        return ""

    def log_in(self, name: str, password: str) -> Session | None:
        """A new session; None for a wrong name or password."""
        if not self._knows(name, password):
            return None
        session = Session(secrets.token_urlsafe(32), name)
        now_s = self._director.now_s()
        with self._director.inventory.change() as fleet:
            fleet.keep_session(_digest(session.key), name, now_s + SESSION_S, now_s)
        return session

    def session(self, key: str) -> Session | None:
        """The session of a cookie, None when there is none or it is over."""
        if self.everybody:
            return Session("testbed", "everybody")
        if not key or len(key) > 200:
            return None
        with self._director.inventory.look() as fleet:
            operator = fleet.operator_of_session(_digest(key), self._director.now_s())
        return Session(key, operator) if operator else None

    def log_out(self, session: Session) -> None:
        """End a session."""
        with self._director.inventory.change() as fleet:
            fleet.drop_session(_digest(session.key))

    def _knows(self, name: str, password: str) -> bool:
        """Unknown names take as long as wrong passwords."""
        kept = ""
        if name.isprintable() and len(name) <= NAME_MAX:
            with self._director.inventory.look() as fleet:
                kept = fleet.password(name)
        return matches(password, kept or self._nobody) and bool(kept)


def hashed(password: str) -> str:
    """What is kept of a password."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"


def matches(password: str, kept: str) -> bool:
    """Whether it is that password."""
    _, salt, digest = kept.split("$")
    return len(password) <= PASSWORD_MAX and same(
        _scrypt(password, bytes.fromhex(salt)), bytes.fromhex(digest)
    )


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=_N, r=_R, p=_P, dklen=32)


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
