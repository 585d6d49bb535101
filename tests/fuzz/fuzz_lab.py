"""What a lab is told: configurations, key sets and tokens of any bytes are read, or refused by one of our errors."""

from contextlib import suppress

from swagent.errors import SwagentError
from swagent.lab.auth import Authenticator, believed, read_key_set
from swagent.lab.config import parse_config
from tests.lab.test_config import GOOD

_SET = (
    b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "alg": "EdDSA", '
    b'"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
)
_TOKEN = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSJ9.eyJleHAiOjk5OTk5OTk5OTl9.AAAA"


class _Keys:
    """One key that has signed nothing here."""

    def __init__(self) -> None:
        self._key = read_key_set(_SET, "set")["one"]

    def holds(self, kid: str) -> bool:
        return True

    def claims(self, token: str, kid: str, algorithm: str) -> dict[str, object]:
        return dict(believed(token, self._key, algorithm))


_JUDGE = Authenticator([_Keys()])


def one_input(data: bytes) -> None:
    """As each of the three; no token is believed, since nothing was ever signed."""
    with suppress(SwagentError):
        parse_config(data, "lab.yaml")
    with suppress(SwagentError):
        assert all(isinstance(kid, str) for kid in read_key_set(data, "keys.json"))
    text = data.decode("latin-1")
    for header in (text, f"Bearer {text}"):
        with suppress(SwagentError):
            raise AssertionError(f"believed: {_JUDGE.judge(header)}")


def seeds() -> list[bytes]:
    """One of each."""
    return [GOOD.encode(), _SET, _TOKEN.encode(), b"a: &a [*a]", b"{<<: {a: b}}", b"[" * 100]
