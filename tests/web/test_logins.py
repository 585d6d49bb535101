"""Who may come in: passwords (curl is the client), tokens, certificates, sessions; and where requests may come from."""

import asyncio
import hashlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from swagent.errors import RegistrationError, SettingsError
from swagent.settings import from_config, layer, table
from swagent.web.auth import (
    NONCE_S,
    SESSIONS_MAX,
    Digest,
    Sessions,
    Verdict,
    read_pairs,
    read_passwords,
    read_tokens,
)
from swagent.web.guard import host_is_ours, same_origin
from swagent.web.options import WebOptions, from_words, web_options
from tests.net.authority import Authority
from tests.programs import need

from .double import OPEN, Double, serving

REALM = "Update"
TOKEN = "a-long-random-word"
Work = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def run(options: WebOptions, work: Work) -> Double:
    async def main() -> Double:
        double = Double()
        async with serving(double, options) as base, aiohttp.ClientSession() as client:
            async with asyncio.timeout(60):
                await work(client, base)
        return double

    return asyncio.run(main())


@pytest.fixture
def passwords(tmp_path: Path) -> WebOptions:
    path = tmp_path / "auth"
    path.write_text(f"# people\nanna:{REALM}:{md5(f'anna:{REALM}:secret')}\nbob:other:{md5('x')}\n")
    return OPEN._replace(anonymous=False, realm=REALM, passwords=str(path))


@pytest.fixture
def tokens(tmp_path: Path) -> WebOptions:
    path = tmp_path / "tokens"
    path.write_text(f"ci:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    return OPEN._replace(anonymous=False, tokens=str(path))


async def curl(*words: str) -> tuple[str, bytes]:
    process = await asyncio.create_subprocess_exec(
        "curl", "-s", "-o", "-", "-w", "\n%{http_code}", *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    body, _, status = out.rpartition(b"\n")
    return status.decode(), body


def test_curl_gets_in_with_a_password_and_with_no_other(passwords: WebOptions, tmp_path: Path) -> None:
    need("curl")
    (tmp_path / "up.swu").write_bytes(bytes(2_000_000))

    async def work(client: aiohttp.ClientSession, base: str) -> None:
        assert (await curl("--digest", "-u", "anna:secret", base))[0] == "200"
        for user in ("anna:wrong", "bob:x", "nobody:secret", ":"):
            assert (await curl("--digest", "-u", user, base)) == ("401", b"")
        assert (await curl("-u", "anna:secret", base))[0] == "401"  # Basic
        upload = await curl(
            "--digest", "-u", "anna:secret", "-F", f"file=@{tmp_path}/up.swu", f"{base}/upload"
        )
        assert upload == ("200", b"Ok, up.swu - 2000000 bytes.\r\n")

    assert run(passwords, work).uploads[0][1] == 2_000_000


@pytest.mark.parametrize("path", ["/", "/api/device", "/api/events", "/ws", "/nothing"])
def test_nothing_is_told_without_a_login(path: str, passwords: WebOptions) -> None:
    async def work(client: aiohttp.ClientSession, base: str) -> None:
        async with client.get(base + path) as answer:
            assert (answer.status, await answer.read()) == (401, b"")
            challenge = answer.headers["WWW-Authenticate"]
            assert challenge.startswith(f'Digest realm="{REALM}", qop="auth"')
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await client.ws_connect(base + path)
        async with client.post(f"{base}/upload", data={"x": "y"}) as answer:
            assert answer.status == 401

    double = run(passwords, work)
    assert (double.asked, double.uploads) == ([], [])


def test_a_browser_that_logged_in_has_a_session(passwords: WebOptions) -> None:
    need("curl")

    async def work(client: aiohttp.ClientSession, base: str) -> None:
        _, body = await curl("--digest", "-u", "anna:secret", "-D", "-", base)
        cookie = next(line for line in body.decode().splitlines() if line.startswith("Set-Cookie"))
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        words = {"Cookie": cookie.partition(": ")[2].partition(";")[0]}
        async with client.get(f"{base}/api/device", headers=words) as answer:
            assert answer.status == 200
        async with client.ws_connect(f"{base}/api/events", headers=words) as listener:
            assert (await listener.receive_json())["page"] == "snapshot"
        async with client.get(f"{base}/api/device", headers={"Cookie": "swagent=x"}) as answer:
            assert answer.status == 401

    run(passwords, work)


def test_tokens(tokens: WebOptions) -> None:
    async def work(client: aiohttp.ClientSession, base: str) -> None:
        for given, status in (
            (f"Bearer {TOKEN}", 200),
            (f"bearer {TOKEN}", 200),
            ("Bearer wrong", 401),
            ("Bearer ", 401),
            (TOKEN, 401),
        ):
            async with client.get(f"{base}/api/device", headers={"Authorization": given}) as answer:
                assert (given, answer.status) == (given, status)
        async with client.get(base, headers={"Accept": "text/html"}) as answer:
            assert answer.status == 401
            assert "<form" in await answer.text()
        async with client.post(f"{base}/login", data={"token": "wrong"}) as answer:
            assert answer.status == 401
        foreign = {"Origin": "http://evil.example"}
        async with client.post(f"{base}/login", data={"token": TOKEN}, headers=foreign) as answer:
            assert answer.status == 403
        async with client.post(f"{base}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            assert answer.status == 303
            words = {"Cookie": f"swagent={answer.cookies['swagent'].value}"}
        async with client.get(f"{base}/api/device", headers=words) as answer:
            assert answer.status == 200

    run(tokens, work)


@pytest.mark.parametrize("also_tokens", [False, True])
def test_certificates(also_tokens: bool, tokens: WebOptions, tmp_path: Path) -> None:
    made = Authority(tmp_path / "authority")
    options = OPEN._replace(
        anonymous=False,
        certificate=made.path("server.pem"),
        key=made.path("server.key"),
        client_ca=made.path("ca.pem"),
        tokens=tokens.tokens if also_tokens else "",
    )
    bare = ssl.create_default_context(cafile=made.path("ca.pem"))
    bare.check_hostname = False
    shown = ssl.create_default_context(cafile=made.path("ca.pem"))
    shown.check_hostname = False
    shown.load_cert_chain(made.path("client.pem"), made.path("client.key"))

    async def work(client: aiohttp.ClientSession, base: str) -> None:
        async with client.get(f"{base}/api/device", ssl=shown) as answer:
            assert answer.status == 200
        if also_tokens:
            async with client.get(f"{base}/api/device", ssl=bare) as answer:
                assert answer.status == 401
        else:
            with pytest.raises(aiohttp.ClientError):
                await client.get(f"{base}/api/device", ssl=bare)

    run(options, work)


def test_pages_of_other_sites_are_kept_away() -> None:
    async def work(client: aiohttp.ClientSession, base: str) -> None:
        own = {"Origin": base}
        for headers, status in (
            ({}, 201),
            (own, 201),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": base.replace("127.0.0.1", "127.0.0.2")}, 403),
            ({"Origin": f"{base}1"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({**own, "Sec-Fetch-Site": "same-origin"}, 201),
            ({"Host": "evil.example"}, 421),
            ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
            ({"Host": "update.example"}, 201),
        ):
            async with client.post(f"{base}/restart", headers=headers) as answer:
                assert (headers, answer.status) == (headers, status)
        for path in ("/ws", "/api/events"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await client.ws_connect(base + path, headers={"Origin": "http://evil.example"})
            await (await client.ws_connect(base + path, headers=own)).close()

    run(OPEN._replace(names=("update.example",)), work)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("192.168.1.5", True),
        ("192.168.1.5:8080", True),
        ("[fe80::1]:80", True),
        ("[::1]", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("device", True),
        ("device:99999", False),
        ("evil.example", False),
        ("192.168.1.5.evil.example", False),
        ("a@127.0.0.1", False),
        ("127.0.0.1/x", False),
        ("127.0.0.1#x", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_hosts(host: str, ours: bool) -> None:
    assert host_is_ours(host, frozenset(("localhost", "device"))) is ours


def test_origins_have_default_ports() -> None:
    assert same_origin("http://a", "a:80")
    assert same_origin("https://a", "a")
    assert same_origin("https://a:443", "a")
    assert not same_origin("http://a:81", "a")
    assert not same_origin("http://a", "b")
    assert not same_origin("", "a")
    assert not same_origin("http://a:x", "a")


# -- parts of Digest that curl does not show


class Time:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def answer_to(
    challenge: str, *, user: str = "anna", password: str = "secret", uri: str = "/u", nc: str = "00000001"
) -> str:
    nonce = challenge.partition('nonce="')[2].partition('"')[0]
    ha1 = md5(f"{user}:{REALM}:{password}")
    response = md5(f"{ha1}:{nonce}:{nc}:c:auth:{md5(f'POST:{uri}')}")
    return (
        f'username="{user}", realm="{REALM}", nonce="{nonce}", uri="{uri}", qop=auth, nc={nc}, cnonce="c", '
        f'response="{response}"'
    )


def test_a_login_is_good_once_and_for_an_hour() -> None:
    time = Time()
    digest = Digest(REALM, {"anna": md5(f"anna:{REALM}:secret")}, time)
    challenge = digest.challenge()
    assert digest.check("POST", "/u", answer_to(challenge)) is Verdict.GOOD
    assert digest.check("POST", "/u", answer_to(challenge)) is Verdict.STALE  # heard, and said again
    assert digest.check("POST", "/u", answer_to(challenge, nc="00000005")) is Verdict.GOOD
    assert digest.check("POST", "/u", answer_to(challenge, nc="00000003")) is Verdict.GOOD  # several at once
    assert digest.check("POST", "/u", answer_to(challenge, nc="00000003")) is Verdict.STALE
    assert digest.check("POST", "/u", answer_to(challenge, nc="00001000")) is Verdict.GOOD
    assert digest.check("POST", "/u", answer_to(challenge, nc="00000002")) is Verdict.STALE
    assert digest.check("GET", "/u", answer_to(challenge, nc="00001001")) is Verdict.WRONG
    assert digest.check("POST", "/v", answer_to(challenge, nc="00001001")) is Verdict.WRONG
    assert digest.check("POST", "/u", answer_to(challenge, password="", nc="00001001")) is Verdict.WRONG
    time.now_s += NONCE_S
    assert digest.check("POST", "/u", answer_to(challenge, nc="00001002")) is Verdict.STALE
    same_second = [digest.challenge() for _ in range(2)]
    assert [digest.check("POST", "/u", answer_to(each)) for each in same_second] == [Verdict.GOOD] * 2
    other = Digest(REALM, {"anna": md5(f"anna:{REALM}:secret")}, time)
    assert digest.check("POST", "/u", answer_to(other.challenge())) is Verdict.STALE  # no nonce of ours
    assert "stale=true" in digest.challenge(stale=True)


def test_what_is_forgotten_is_not_good_again() -> None:
    time = Time()
    digest = Digest(REALM, {"anna": md5(f"anna:{REALM}:secret")}, time)
    first = digest.challenge()
    assert digest.check("POST", "/u", answer_to(first)) is Verdict.GOOD
    for _ in range(1024):
        time.now_s += 1
        assert digest.check("POST", "/u", answer_to(digest.challenge())) is Verdict.GOOD
    assert digest.check("POST", "/u", answer_to(first)) is Verdict.STALE


def test_how_logins_are_read() -> None:
    assert read_pairs('a="x\\"y", b=z,c=') == {"a": 'x"y', "b": "z", "c": ""}
    for text in (
        "",
        "a",
        "a=1,a=2",
        'a="',
        "=",
        "a=1 b=2",
        ",".join(f"{chr(97 + i)}=1" for i in range(21)),
        "a=\n,b",
    ):
        assert read_pairs(text) is None, text


def test_sessions_end_and_are_few() -> None:
    time = Time()
    sessions = Sessions(time)
    first = sessions.begin()
    assert sessions.check(first)
    time.now_s += 13 * 3600
    assert not sessions.check(first)
    many = [sessions.begin() for _ in range(SESSIONS_MAX + 1)]
    assert sessions.check(many[-1]) and not sessions.check(many[0])
    assert not sessions.check("")


@pytest.mark.parametrize(
    "text", ["", "anna\n", "anna:other:" + "0" * 32, f"anna:{REALM}:" + "g" * 32, f":{REALM}:" + "0" * 32]
)
def test_password_files_that_let_nobody_in_are_errors(text: str, tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_text(text)
    with pytest.raises(SettingsError, match=str(path)):
        read_passwords(str(path), REALM)


@pytest.mark.parametrize("text", ["", "ci\n", "ci:123\n", ":" + "0" * 64])
def test_token_files_that_let_nobody_in_are_errors(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(SettingsError, match=str(path)):
        read_tokens(str(path))


def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    options = OPEN._replace(anonymous=False, realm=REALM, passwords=str(tmp_path / "gone"))
    with pytest.raises(SettingsError, match="gone"):
        run(options, lambda client, base: asyncio.sleep(0))


# -- options


def test_the_words_of_w_are_swupdates() -> None:
    given = from_words(
        "-r /www --port 8081 -l -t 30 --auth-domain U --global-auth-file /a -s -C c.pem -K k.pem"
    )
    assert given == {
        "document_root": "/www",
        "listening_ports": "8081",
        "enable_directory_listing": True,
        "timeout": "30",
        "auth-domain": "U",
        "global-auth-file": "/a",
        "ssl": True,
        "ssl_certificate": "c.pem",
        "ssl_certificate_key": "k.pem",
    }
    options = web_options(given)
    assert (options.port, options.silence_s, options.certificate, options.realm) == (8081, 30, "c.pem", "U")


def test_without_its_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(RegistrationError, match="web"):
        web_options({"allow-anonymous": True})


def test_the_file_says_and_the_words_win() -> None:
    group = {"listening_ports": 8080, "timeout": 0, "allow-anonymous": True, "title": "Acme", "api": 2}
    settings, ignored = from_config({"globals": {}, "webserver": group}, where="cfg")
    assert ignored == ["cfg: webserver.api is not used"]
    words = {f"webserver.{key}": value for key, value in from_words("-p 81 -t 5").items()}
    settings = layer(settings, words, origins="-w")
    rows = {key: (value, origin) for key, value, origin in table(settings)}
    assert rows["webserver.listening_ports"] == ("81", "-w")
    assert rows["webserver.title"] == ("Acme", "cfg:webserver.title")
    options = web_options(settings.webserver)
    assert (options.port, options.silence_s, options.anonymous, options.title) == (81, 5, True, "Acme")
    with pytest.raises(SettingsError, match="token-fil"):
        from_config({"globals": {}, "webserver": {"token-fil": "x"}}, where="cfg")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "who may log in"),
        ({"auth-domain": "U", "allow-anonymous": True}, "go together"),
        ({"global-auth-file": "/a"}, "go together"),
        ({"auth-domain": 'a"b', "global-auth-file": "/a"}, "quotes"),
        ({"ssl": True, "allow-anonymous": True}, "certificate"),
        ({"listening_ports": "https://:8443", "allow-anonymous": True}, "certificate"),
        ({"listening_ports": "99999", "allow-anonymous": True}, "listening_ports"),
        ({"listening_ports": "8080s", "allow-anonymous": True}, "listening_ports"),
        ({"ssl-client-ca": "ca"}, "ssl_certificate"),
        ({"timeout": "x", "allow-anonymous": True}, "timeout"),
        ({"upload-max-size": "2GB", "allow-anonymous": True}, "upload-max-size"),
    ],
)
def test_options_that_cannot_be(given: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        web_options(given)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("80", "", 80),
        ("127.0.0.1:81", "127.0.0.1", 81),
        ("http://[::1]:82/", "::1", 82),
        ("http://:83", "", 83),
    ],
)
def test_where_to_listen(text: str, host: str, port: int) -> None:
    options = web_options({"listening_ports": text, "allow-anonymous": True})
    assert (options.host, options.port) == (host, port)
