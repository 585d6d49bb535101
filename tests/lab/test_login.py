"""Logging in by a device's code, against an issuer that answers as RFC 8628 has it, and otherwise."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import LabError, SettingsError, SwagentError
from swagent.lab.errors import NotAllowed, TookTooLong, Unauthenticated
from swagent.lab.login import Login, Question, Session, Tokens, read_tokens, write_tokens
from swagent.lab.servers import read_servers
from tests.programs import run_swagent

from .labs import SERVER, serving
from .test_oidc import Issuer

CODE = {
    "device_code": "dev",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://id.example/device",
    "expires_in": 60,
    "interval": 5,
}
PENDING, SLOWER = (400, {"error": "authorization_pending"}), (400, {"error": "slow_down"})


class Time:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.at_s = 1000.0
        self.slept: list[float] = []

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_s += seconds


class Desk:
    """Somebody in front of a terminal, and where their tokens are."""

    def __init__(self, issuer: Issuer, folder: Path) -> None:
        self.issuer, self.time = issuer, Time()
        self.cache = folder / "here.token"
        self.asked: list[Question] = []
        self.login = Login(issuer.uri, "client", str(self.cache))
        issuer.tell(
            "/realm/.well-known/openid-configuration",
            device_authorization_endpoint=f"{issuer.base}/device",
            token_endpoint=f"{issuer.base}/token",
        )

    def session(self, *, alone: bool = False) -> Session:
        ask = None if alone else self.asked.append
        return Session(self.login, ask, clock=self.time, sleep=self.time.sleep)

    def answer(self, *tokens: tuple[int, Any], device: tuple[int, Any] = (200, CODE)) -> None:
        self.issuer.answers = {"/device": [device], "/token": list(tokens)}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    issuer = Issuer(tmp_path)
    yield Desk(issuer, tmp_path)
    issuer.close()


def test_a_login(desk: Desk) -> None:
    desk.answer(
        PENDING, SLOWER, PENDING, (200, {"access_token": "one", "refresh_token": "r", "expires_in": 300})
    )
    session = desk.session()
    assert session.token() == "one"
    assert desk.asked == [Question("https://id.example/device", "ABCD-EFGH", "", 60.0)]
    assert desk.time.slept == [5, 5, 10, 10]
    assert desk.issuer.posted[0] == {"client_id": "client", "scope": "read"}
    assert desk.issuer.posted[1]["device_code"] == "dev"
    assert session.token() == "one" and len(desk.issuer.posted) == 5, "nobody is asked again"
    assert read_tokens(str(desk.cache)) == Tokens("one", "r", desk.time.at_s + 300)
    assert stat.S_IMODE(desk.cache.stat().st_mode) == 0o600
    assert desk.cache.read_text().splitlines()[0] == "refresh: r"


def test_tokens_are_refreshed_before_they_end(desk: Desk) -> None:
    write_tokens(str(desk.cache), Tokens("old", "r1", desk.time.at_s + 60))
    session = desk.session(alone=True)
    assert session.token() == "old"
    desk.time.at_s += 40
    desk.answer((200, {"access_token": "new", "expires_in": 300}))
    assert session.token() == "new"
    assert desk.issuer.posted == [
        {"grant_type": "refresh_token", "refresh_token": "r1", "client_id": "client"}
    ]
    assert read_tokens(str(desk.cache)) == Tokens("new", "r1", desk.time.at_s + 300), (
        "the refresh token stays"
    )


def test_a_refresh_token_that_has_ended(desk: Desk) -> None:
    write_tokens(str(desk.cache), Tokens("old", "r1", 1.0))
    desk.answer((400, {"error": "invalid_grant"}), (200, {"access_token": "new"}))
    assert desk.session().token() == "new"
    assert len(desk.asked) == 1
    write_tokens(str(desk.cache), Tokens("old", "r1", 1.0))
    desk.answer((400, {"error": "invalid_grant"}))
    with pytest.raises(Unauthenticated, match="has ended"):
        desk.session(alone=True).token()
    desk.answer((503, b"busy"))
    with pytest.raises(SettingsError, match="answers 503"):
        desk.session().token()


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        ([(400, {"error": "access_denied", "error_description": "No\n way"})], NotAllowed, "No\n way"),
        ([PENDING, (400, {"error": "expired_token"})], TookTooLong, "in time"),
        ([PENDING] * 20, TookTooLong, "in time"),
        ([SLOWER] * 20, TookTooLong, "in time"),
        ([(500, b"<html>")], NotAllowed, "it answers 500"),
        ([(200, b"[]")], SettingsError, "no token"),
        ([(200, {"access_token": 3})], SettingsError, "no token"),
        ([(200, {"access_token": "a\nb"})], SettingsError, "no token"),
        ([(200, {"access_token": "a", "refresh_token": ["b"]})], SettingsError, "no token"),
        ([(200, {"access_token": "x" * 70_000})], SettingsError, "no token"),
    ],
)
def test_logins_that_fail(desk: Desk, answers: Any, error: type[SwagentError], message: str) -> None:
    desk.answer(*answers)
    with pytest.raises(error) as told:
        desk.session().token()
    assert message in told.value.message
    assert not desk.cache.exists()


@pytest.mark.parametrize(
    "device",
    [
        (400, {"error": "invalid_client"}),
        (200, b"{"),
        (200, {**CODE, "device_code": 3}),
        (200, {"device_code": "x"}),
    ],
)
def test_an_issuer_that_does_not_begin(desk: Desk, device: Any) -> None:
    desk.answer(device=device)
    with pytest.raises((NotAllowed, SettingsError)):
        desk.session().token()
    assert desk.asked == []


def test_a_network_that_comes_back(desk: Desk) -> None:
    """The issuer's port is closed while somebody types the code."""
    desk.answer((200, {"access_token": "one"}))
    desk.issuer.tell(
        "/realm/.well-known/openid-configuration",
        device_authorization_endpoint=f"{desk.issuer.base}/device",
        token_endpoint="http://127.0.0.1:1/token",
    )
    with pytest.raises(TookTooLong):
        desk.session().token()
    assert desk.time.slept == [5, 10, 20, 40]


def test_numbers_that_make_no_sense_are_not_believed(desk: Desk) -> None:
    desk.answer((200, {"access_token": "one", "expires_in": -5}), device=(200, {**CODE, "interval": 1e9}))
    assert desk.session().token() == "one"
    assert desk.time.slept == [60]


@pytest.mark.parametrize(
    ("supported", "scope"),
    [(["openid", "offline_access"], "openid"), (["read", "openid"], "read"), (["x"], None)],
)
def test_what_is_asked_for(desk: Desk, supported: list[str], scope: str | None) -> None:
    document = desk.issuer.documents["/realm/.well-known/openid-configuration"]
    document["scopes_supported"] = supported
    desk.answer((200, {"access_token": "one"}))
    desk.session().token()
    assert desk.issuer.posted[0].get("scope") == scope


@given(st.binary(max_size=200))
def test_a_cache_of_any_bytes(data: bytes) -> None:
    path = "/tmp/swagent-test-cache"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    os.close(descriptor)
    found = read_tokens(path)
    assert found is None or found.access


def test_others_may_not_read_the_cache(desk: Desk) -> None:
    write_tokens(str(desk.cache), Tokens("one"))
    desk.cache.chmod(0o644)
    with pytest.raises(SwagentError):
        desk.session().token()


def test_the_command_logs_in(desk: Desk, tmp_path: Path) -> None:
    """init asks the server where, somebody allows it, and the token is believed, refreshed and forgotten."""
    issuer = desk.issuer
    method = f"    - {{ type: oidc, description: Staff, uri: '{issuer.uri}', client: lab }}\n"
    text = SERVER.rstrip() + "\n" + method + "providers: []\ndevices: []\n"
    good = {"access_token": issuer.token(), "refresh_token": "r", "expires_in": 1}
    desk.answer(
        PENDING,
        (200, good),
        device=(200, {**CODE, "interval": 0.1, "verification_uri_complete": "https://x/y"}),
    )
    with serving(tmp_path, text) as (server, _):
        uri, listed = f"http://127.0.0.1:{server.port}", ["-c", "servers.yaml"]
        shown = run_swagent(["lab", "auth", "login-info", "-u", uri, *listed], tmp_path)
        assert shown.ok and issuer.uri in shown.text and "Staff" in shown.text
        made = run_swagent(["lab", "auth", "init", "-i", "my.lab", "-u", uri, *listed], tmp_path)
        assert made.ok, made.text
        assert "https://id.example/device in a browser, and enter the code ABCD-EFGH" in made.text
        assert "https://x/y" in made.text
        (known,) = read_servers(str(tmp_path / "servers.yaml"))
        assert known.login == Login(issuer.uri, "lab", str(tmp_path / "my_lab.token"))
        desk.answer((200, {**good, "expires_in": 300}))
        assert run_swagent(["lab", "list", "devices", *listed], tmp_path).ok
        assert issuer.posted[-1]["grant_type"] == "refresh_token"
        assert run_swagent(["lab", "list", "devices", *listed], tmp_path).ok, "with the kept one"
        info = run_swagent(["lab", "auth", "info", "-i", "my.lab", *listed], tmp_path)
        assert f"a login at {issuer.uri}" in info.text
        desk.answer((400, {"error": "invalid_grant"}))
        write_tokens(known.login.cache, Tokens("old", "r", 1.0))
        refused = run_swagent(["lab", "list", "devices", *listed], tmp_path)
        assert refused.code == 90 and "has ended" in refused.text and "Traceback" not in refused.text
        assert run_swagent(["lab", "auth", "remove", "-i", "my.lab", *listed], tmp_path).ok
        assert not (tmp_path / "my_lab.token").exists()


def test_configure(tmp_path: Path) -> None:
    """The words of 0.0.1."""
    (tmp_path / "token").write_text("a-token-long-enough\n")
    words, listed = ["lab", "configure"], ["-c", "servers.yaml", "-i"]
    for name, more in (("a", ["--token-file", "token"]), ("b", ["--token-file", "token", "--default"])):
        made = run_swagent([*words, "--new", "-u", f"http://{name}:1", *more, *listed, name], tmp_path)
        assert made.ok, made.text
    assert [one.name for one in read_servers(str(tmp_path / "servers.yaml"))] == ["b", "a"]
    assert run_swagent([*words, "-u", "https://c:2", "--default", *listed, "a"], tmp_path).ok
    first, second = read_servers(str(tmp_path / "servers.yaml"))
    assert (first.name, first.uri, first.token) == ("a", "https://c:2", "a-token-long-enough")
    assert second.name == "b"
    for bad in (
        [*words, *listed, "c"],
        [*words, "--new", *listed, "a"],
        [*words, "-u", "ftp://x", *listed, "a"],
    ):
        refused = run_swagent(bad, tmp_path)
        assert refused.code in (2, 70) and "Traceback" not in refused.text
    assert issubclass(NotAllowed, LabError)
