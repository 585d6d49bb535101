"""Tokens of an issuer: a small one over HTTP, whose keys are replaced."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from swagent.errors import SettingsError
from swagent.lab.auth import Authenticator
from swagent.lab.config import Oidc
from swagent.lab.errors import Unauthenticated
from swagent.lab.items import ItemType
from swagent.lab.oidc import IssuerKeys

from .labs import SERVER, Keys, serving, using


class Issuer:
    """Serves what it is told to serve."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys(folder)
        self.documents: dict[str, Any] = {}
        self.answers: dict[str, list[Any]] = {}
        """What is answered to what is posted to a path: a status and a document, one after the other."""
        self.posted: list[dict[str, str]] = []
        issuer = self

        class Talk(BaseHTTPRequestHandler):
            """One question."""

            def do_GET(self) -> None:
                found = issuer.documents.get(self.path)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                given = self.rfile.read(int(self.headers["Content-Length"])).decode()
                issuer.posted.append(dict(parse_qsl(given)))
                status, found = issuer.answers[self.path].pop(0)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Talk)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self.uri = f"{self.base}/realm"
        self.tell("/realm/.well-known/openid-configuration")
        self.documents["/keys"] = {"keys": [self.keys.public]}

    def tell(self, path: str, **more: Any) -> None:
        self.documents[path] = {"issuer": self.uri, "jwks_uri": f"{self.base}/keys", **more}

    def token(self, **claims: Any) -> str:
        return self.keys.token(None, **{"iss": self.uri, "aud": "lab", **claims})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    issuer = Issuer(tmp_path)
    yield issuer
    issuer.close()


def judge(keys: IssuerKeys, token: str) -> Any:
    return Authenticator([keys]).judge(f"Bearer {token}").claims["sub"]


def test_what_a_token_must_say(issuer: Issuer) -> None:
    keys = IssuerKeys(Oidc("d", issuer.uri, "c", ("lab", "other")))
    assert judge(keys, issuer.token()) == "tester"
    assert judge(keys, issuer.token(aud=["x", "other"])) == "tester"
    for claims in (
        {"iss": "http://elsewhere"}, {"iss": None}, {"aud": "x"}, {"aud": None}, {"exp": 1}, {"exp": None},
        {"nbf": 1 << 33},
    ):  # fmt: skip
        with pytest.raises(Unauthenticated):
            judge(keys, issuer.token(**claims))
    anybody = IssuerKeys(Oidc("d", issuer.uri, "c"))
    assert judge(anybody, issuer.token(aud="x")) == "tester"


def test_nbf_is_needed_where_the_issuer_says_so(issuer: Issuer) -> None:
    issuer.tell("/realm/.well-known/openid-configuration", claims_supported=["sub", "nbf"])
    keys = IssuerKeys(Oidc("d", issuer.uri, "c"))
    with pytest.raises(Unauthenticated):
        judge(keys, issuer.token())
    assert judge(keys, issuer.token(nbf=1)) == "tester"


@pytest.mark.parametrize(
    "place",
    [
        "/realm/.well-known/openid-configuration",
        "/.well-known/openid-configuration/realm",
        "/.well-known/oauth-authorization-server/realm",
    ],
)
def test_where_an_issuer_tells_of_itself(issuer: Issuer, place: str) -> None:
    issuer.documents = {"/keys": issuer.documents["/keys"]}
    issuer.tell(place)
    assert judge(IssuerKeys(Oidc("d", issuer.uri, "c")), issuer.token()) == "tester"


def test_keys_are_replaced(issuer: Issuer, tmp_path: Path) -> None:
    keys, old = IssuerKeys(Oidc("d", issuer.uri, "c")), issuer.token()
    issuer.keys = Keys(tmp_path, "two")
    issuer.documents["/keys"] = {"keys": [issuer.keys.public]}
    with pytest.raises(Unauthenticated):
        judge(keys, issuer.token())
    keys.refresh()
    assert judge(keys, issuer.token()) == "tester"
    with pytest.raises(Unauthenticated):
        judge(keys, old)
    for broken in (b"{", None, {"keys": [{"kty": "OKP"}]}):
        issuer.documents["/keys"] = broken
        with pytest.raises(SettingsError):
            keys.refresh()
        assert judge(keys, issuer.token()) == "tester"  # the keys of before stay


def test_keys_that_sign_nothing_are_passed_over(issuer: Issuer) -> None:
    """Keycloak has one for encryption in every set."""
    for_encryption = {"kty": "RSA", "kid": "enc", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}
    newer = {"kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "AA"}
    issuer.documents["/keys"] = {
        "keys": [for_encryption, newer, {"kty": "oct", "kid": "k", "k": "AA"}, {}, issuer.keys.public]
    }
    keys = IssuerKeys(Oidc("d", issuer.uri, "c"))
    assert judge(keys, issuer.token()) == "tester"
    assert not any(keys.holds(kid) for kid in ("enc", "new", "k"))
    issuer.documents["/keys"] = {"keys": [for_encryption]}
    with pytest.raises(SettingsError, match="no key that signs"):
        IssuerKeys(Oidc("d", issuer.uri, "c"))


@pytest.mark.parametrize(
    "told", [None, b"{", [], {"issuer": "x"}, {"jwks_uri": "x"}, {"issuer": 1, "jwks_uri": "x"}]
)
def test_an_issuer_that_makes_no_sense(issuer: Issuer, told: Any) -> None:
    issuer.documents["/realm/.well-known/openid-configuration"] = told
    with pytest.raises(SettingsError, match="issuer"):
        IssuerKeys(Oidc("d", issuer.uri, "c"))


def test_a_lab_with_an_issuer(issuer: Issuer, tmp_path: Path) -> None:
    method = f"    - {{ type: oidc, description: Staff, uri: '{issuer.uri}', client: lab }}\n"
    text = SERVER.rstrip() + "\n" + method + "providers: []\ndevices: []\n"
    with serving(tmp_path, text) as (server, _):
        with using(server, issuer.token()) as client:
            assert client.items(ItemType.DEVICE) == []
        with using(server, "") as client:
            assert client.logins() == [("Staff", issuer.uri, "lab")]
