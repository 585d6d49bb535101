"""Who may use the web server: passwords by Digest, tokens, certificates; and sessions for browsers.

Digest as SWUpdate has it (runtime interfaces §4.3): MD5, ``qop=auth``, a file of lines
``user:realm:md5(user:realm:password)``.
A nonce is a time that we signed, good for an hour; each of its counts is good once.
"""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum

from swagent.errors import SettingsError

NONCE_S = 3600
SESSION_S = 12 * 3600
SESSIONS_MAX = 256
FILE_BYTES_MAX = 64 * 1024
COOKIE = "swagent"
_NONCES_MAX = 1024
_COUNTS = 64  # how far back a count may come: browsers send several requests at once
_PAIR = re.compile(r'\s*([A-Za-z]{1,20})\s*=\s*(?:"((?:[^"\\]|\\.){0,4096})"|([^\s,"]{0,256}))\s*(?:,|\Z)')
_PAIRS_MAX = 20


class Verdict(Enum):
    """On a login."""

    GOOD = "good"
    WRONG = "wrong"
    STALE = "stale"
    """Right, but with a nonce that is used up: the client is to come again with another."""


class Digest:
    """Passwords, which never cross the network.

    Args:
        realm: SWUpdate's ``auth-domain``.
        users: name to the MD5 of the file.
        now: seconds that only grow.
    """

    def __init__(self, realm: str, users: Mapping[str, str], now: Callable[[], float]) -> None:
        self._realm = realm
        self._users = users
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._nobody = secrets.token_hex(16)
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._forgotten_s = 0  # nonces up to this time have no count any more

    def challenge(self, *, stale: bool = False) -> str:
        """What to put into ``WWW-Authenticate``."""
        nonce = self._signed(f"{int(self._now()):08x}{secrets.token_hex(8)}")
        words = f'Digest realm="{self._realm}", qop="auth", algorithm=MD5, nonce="{nonce}"'
        return words + (", stale=true" if stale else "")

    def check(self, method: str, uri: str, given: str) -> Verdict:
        """Judge what stands behind ``Digest`` in ``Authorization``.

        Args:
            method: of the request.
            uri: as the request names it, whatever the header says.
            given: the header without its first word.
        """
        pairs = read_pairs(given)
        if pairs is None or pairs.get("qop") != "auth" or pairs.get("algorithm", "MD5").upper() != "MD5":
            return Verdict.WRONG
        user, nonce, count = (pairs.get(name, "") for name in ("username", "nonce", "nc"))
        password = self._users.get(user)  # unknown names take as long as wrong passwords
        wanted = _md5(
            ":".join(
                (
                    password or self._nobody,
                    *(nonce, count, pairs.get("cnonce", ""), "auth"),
                    _md5(f"{method}:{uri}"),
                )
            )
        )
        given_response = pairs.get("response", "").lower().encode("utf-8", "surrogateescape")
        right = hmac.compare_digest(wanted.encode(), given_response)
        if password is None or not right or pairs.get("realm") != self._realm:
            return Verdict.WRONG
        return Verdict.GOOD if self._fresh(nonce) and self._first_use(nonce, count) else Verdict.STALE

    def _signed(self, text: str) -> str:
        return text + hmac.digest(self._secret, text.encode(), "sha256").hex()[:32]

    def _fresh(self, nonce: str) -> bool:
        if not re.fullmatch(r"[0-9a-f]{56}", nonce):
            return False
        ours = hmac.compare_digest(self._signed(nonce[:24]), nonce)
        time_s = int(nonce[:8], 16)
        return ours and self._forgotten_s < time_s and 0 <= self._now() - time_s < NONCE_S

    def _first_use(self, nonce: str, text: str) -> bool:
        if not re.fullmatch(r"[0-9A-Fa-f]{8}", text):
            return False
        count = int(text, 16)
        highest, seen = self._counts.pop(nonce, (0, 0))
        if count > highest:
            highest, seen = count, seen << min(count - highest, _COUNTS)
        bit = 1 << (highest - count) if highest - count < _COUNTS else 0
        first = bit != 0 and not seen & bit
        self._counts[nonce] = (highest, (seen | bit) & ((1 << _COUNTS) - 1))
        while len(self._counts) > _NONCES_MAX:
            oldest, _ = self._counts.popitem(last=False)
            self._forgotten_s = max(self._forgotten_s, int(oldest[:8], 16))
        return first


class Tokens:
    """Long random words, of which the file has the SHA-256."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = digests

    def check(self, token: str) -> bool:
        """Whether it is one of them; takes equally long for all."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest().encode()
        good = False
        for known in self._digests.values():
            good |= hmac.compare_digest(known.encode(), digest)
        return good


class Sessions:
    """Browsers that have logged in; the cookie of each is forgotten after half a day, or when we end."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: OrderedDict[str, float] = OrderedDict()

    def begin(self) -> str:
        """A new one's cookie."""
        cookie = secrets.token_urlsafe(32)
        while len(self._until) >= SESSIONS_MAX:
            self._until.popitem(last=False)
        self._until[_name_of(cookie)] = self._now() + SESSION_S
        return cookie

    def check(self, cookie: str) -> bool:
        """Whether there is such a session."""
        until = self._until.get(_name_of(cookie))  # a digest: nothing to be learnt from how long this takes
        return until is not None and self._now() < until


def read_pairs(text: str) -> dict[str, str] | None:
    """The ``name=value`` words of an ``Authorization``; names in lower case, none twice; None if it makes no sense."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None or match[1].lower() in pairs or len(pairs) >= _PAIRS_MAX:
            return None
        pairs[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        at = match.end()
    return pairs or None


def read_passwords(path: str, realm: str) -> dict[str, str]:
    """Name to MD5 of those in SWUpdate's global auth file who are of this realm.

    Raises:
        SettingsError: it cannot be read, has a line that is none, or nobody of this realm.
    """
    users = {}
    for number, line in _lines(path):
        user, _, rest = line.partition(":")
        theirs, _, digest = rest.rpartition(":")
        if not (user and theirs and re.fullmatch(r"[0-9a-fA-F]{32}", digest)):
            raise SettingsError(
                f"{path}: line {number} is not user:realm:md5", hint="htdigest writes such files"
            )
        if theirs == realm:
            users[user] = digest.lower()
    if not users:
        raise SettingsError(f"{path} has nobody of the realm {realm!r}", hint="the realm is auth-domain")
    return users


def read_tokens(path: str) -> dict[str, str]:
    """Name to SHA-256 of each token.

    Raises:
        SettingsError: it cannot be read, or has a line that is none, or no line at all.
    """
    tokens = {}
    for number, line in _lines(path):
        name, _, digest = line.partition(":")
        if not (name and re.fullmatch(r"[0-9a-fA-F]{64}", digest)):
            raise SettingsError(
                f"{path}: line {number} is not name:sha256",
                hint="printf %s TOKEN | sha256sum makes the second",
            )
        tokens[name] = digest.lower()
    if not tokens:
        raise SettingsError(f"{path} has no token")
    return tokens


def _lines(path: str) -> list[tuple[int, str]]:
    try:
        with open(path, "rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise SettingsError(
            f"cannot read {path}: {exc.strerror}", hint="the web server's own user must be able to"
        ) from exc
    if len(text) > FILE_BYTES_MAX:
        raise SettingsError(f"{path} is longer than {FILE_BYTES_MAX} bytes")
    lines = enumerate(text.decode("utf-8", "replace").splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip() and not line.startswith("#")]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _name_of(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).hexdigest()
