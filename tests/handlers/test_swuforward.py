"""The handler against devices of tests/net/panel.py; tests/e2e/test_forward.py has the real SWUpdate."""

import os
import re
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from swagent.errors import (
    Cancelled,
    DescriptionError,
    HandlerError,
    HashError,
    PreflightRefused,
    RegistrationError,
)
from swagent.model import Artifact, Compression, Kind, TlsFiles
from swagent.testing import FakeContext, FakeData, install
from tests.net.authority import Authority
from tests.net.panel import Panel, header

pytest.importorskip("websockets")

UPDATE = bytes(range(256)) * 1600  # three pieces and a bit


def image(*urls: str, **properties: str) -> Artifact:
    given = {"deadline": "30", **properties}
    values = {name.replace("_", "-"): (value,) for name, value in given.items()}
    return Artifact(
        Kind.IMAGE, "swuforward", "panel.swu", properties={"url": urls, **values}, where="images[0] panel.swu"
    )


def forward(art: Artifact, tmp_path: Path, content: bytes = UPDATE) -> FakeContext:
    ctx = FakeContext(str(tmp_path))
    install(art, FakeData(content), ctx)
    return ctx


def fails(art: Artifact, tmp_path: Path, match: str) -> FakeContext:
    """It fails within a few seconds, and nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    ctx = FakeContext(str(tmp_path))
    begun_s = time.monotonic()
    with pytest.raises(HandlerError, match=match):
        install(art, FakeData(UPDATE), ctx)
    assert time.monotonic() - begun_s < 6
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # the panel's own end may live a moment longer
    return ctx


def test_what_a_device_gets(tmp_path: Path) -> None:
    with Panel() as panel:
        ctx = forward(image(panel.url + "/"), tmp_path)
    websocket, upload = panel.heads
    assert websocket.startswith(b"GET / HTTP/1.1\r\n")
    assert header(websocket, b"Sec-WebSocket-Protocol") == b"swupdate-status-protocol"
    assert header(websocket, b"Host") == f"localhost:{panel.port}".encode()
    assert upload.startswith(b"POST /upload HTTP/1.1\r\n")
    assert header(upload, b"Content-Type").startswith(b"multipart/form-data; boundary=")
    assert header(upload, b"Expect") == header(upload, b"Transfer-Encoding") == b""
    assert re.fullmatch(
        rb'--[^\r]+\r\nContent-Disposition: form-data; name="swupdate-package"; filename="swupdate.swu"\r\n'
        rb"Content-Type: application/octet-stream\r\n\r\n",
        panel.part_head,
    )
    assert panel.received == UPDATE
    assert ("info", f"{panel.url} has installed it") in ctx.logged


def test_a_path_in_front(tmp_path: Path) -> None:
    with Panel() as panel:
        forward(image(panel.url + "/behind/proxy/"), tmp_path)
    assert panel.heads[1].startswith(b"POST /behind/proxy/upload HTTP/1.1\r\n")


def test_several_at_once_and_their_logs(tmp_path: Path) -> None:
    class Talking(Panel):
        def install(self) -> None:
            self.frame(b"", opcode=9)  # a ping
            self.say(6, "Update started")
            self.broadcast({"type": "step", "number": "1", "step": "1", "name": "x", "percent": "50"})
            self.broadcast({"type": "info", "source": "x" * 50})
            super().install()

    with ExitStack() as stack:
        panels = [stack.enter_context(Talking()) for _ in range(5)]
        ctx = forward(image(*(panel.url for panel in panels)), tmp_path)
    assert [panel.received == UPDATE for panel in panels] == [True] * 5
    for panel in panels:
        assert ("info", f"{panel.url}: Update started") in ctx.logged


def test_the_end_is_held_back_until_the_verdict(tmp_path: Path) -> None:
    for n_bytes in (1, 128 * 1024, len(UPDATE)):
        with Panel() as panel, pytest.raises(HashError):
            data = FakeData(UPDATE[:n_bytes], verdict=HashError("wrong"))
            install(image(panel.url), data, FakeContext(str(tmp_path)))
        assert panel.size_bytes < n_bytes
        assert not panel.complete


def test_the_good_ones_go_on_and_the_bad_ones_are_named(tmp_path: Path) -> None:
    class Failing(Panel):
        def install(self) -> None:
            self.say(3, "no room")
            self.tell("FAILURE")

    class Stalling(Panel):
        def take(self, piece: bytes) -> None:
            self.stop.wait()

    nobody = socket.create_server(("127.0.0.1", 0))
    gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    nobody.close()
    content = UPDATE * 40  # more than a connection's buffers hold
    with Panel() as good, Failing() as failing, Stalling() as stalling, Panel() as also_good:
        art = image(good.url, failing.url, gone, stalling.url, also_good.url, timeout="1")
        ctx = FakeContext(str(tmp_path))
        with pytest.raises(HandlerError) as caught:
            install(art, FakeData(content), ctx)
    message = caught.value.message
    assert message.startswith("3 of 5 devices did not install it: ")
    assert f"{failing.url}: it reports FAILURE: no room" in message
    assert f"{gone}: cannot connect: Connection refused" in message
    assert f"{stalling.url}: it took no data within 1 s" in message
    assert good.url not in message
    assert good.received == also_good.received == content
    for panel in (good, also_good):
        assert ("info", f"{panel.url} has installed it") in ctx.logged


# -- every way to fail


class Refusing(Panel):
    answers: bytes
    word: bytes

    def refuse(self, head: bytes) -> bytes:
        return self.answers if head.startswith(self.word) else b""


def refusing(word: bytes, answers: bytes) -> type[Panel]:
    return type("Refusing", (Refusing,), {"word": word, "answers": answers})


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "refuses the WebSocket with 404"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "refuses the WebSocket with 401"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "refuses the WebSocket with 200"),
        (b"HTTP/1.1 101 Yes\r\n\r\n", "no WebSocket with it"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "no WebSocket with it"),
        (b"\0" * 100_000, "no WebSocket with it"),
        (b"HTTP/1.1 101 Yes\r\n" + b"X: y\r\n" * 1000, "no WebSocket with it"),
    ],
)
def test_no_websocket(tmp_path: Path, answer: bytes, match: str) -> None:
    with refusing(b"GET", answer)() as panel:
        fails(image(panel.url, timeout="1"), tmp_path, match)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"HTTP/1.1 500 Failed to queue command\r\nContent-Length: 0\r\n\r\n", "answers the upload with 500"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", "answers the upload with 301"),
        (b"what?\r\n\r\n", "no HTTP: b'what"),
    ],
)
def test_the_upload_is_refused(tmp_path: Path, answer: bytes, match: str) -> None:
    with refusing(b"POST", answer)() as panel:
        fails(image(panel.url), tmp_path, match)


def test_an_error_of_http_counts_though_the_device_says_success(tmp_path: Path) -> None:
    class Contradicting(Panel):
        def answer(self, sock: socket.socket) -> None:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

    with Contradicting() as panel:
        fails(image(panel.url), tmp_path, "answers the upload with 500")


def test_an_answer_and_no_more_reading(tmp_path: Path) -> None:
    class Hasty(Panel):
        def take(self, piece: bytes) -> None:
            if self.size_bytes < 200_000:
                return
            self.answer(self._open[-1])
            raise OSError("that was enough")

    with Hasty() as panel:
        fails(image(panel.url), tmp_path, "before all had come|connection broke")


def test_thousands_of_interim_answers(tmp_path: Path) -> None:
    class Patient(Panel):
        def answer(self, sock: socket.socket) -> None:
            sock.sendall(b"HTTP/1.1 100 \r\n\r\n" * 5000)
            super().answer(sock)

    with Patient() as panel:
        forward(image(panel.url), tmp_path)


def test_success_without_an_answer_to_the_upload(tmp_path: Path) -> None:
    class Silent(Panel):
        def answer(self, sock: socket.socket) -> None:
            pass

    with Silent() as panel:
        ctx = forward(image(panel.url), tmp_path)
    assert any("never answered the upload" in message for _, message in ctx.logged)


def test_a_reset_upload_and_the_reason_that_follows(tmp_path: Path) -> None:
    class Resetting(Panel):
        def take(self, piece: bytes) -> None:
            self.say(3, "Image invalid or corrupted. Not installing ...")
            self.tell("FAILURE")
            raise OSError("hang up with bytes unread, which resets")

    with Resetting() as panel:
        fails(image(panel.url), tmp_path, "FAILURE: Image invalid or corrupted")


def test_a_reset_upload_without_a_reason(tmp_path: Path) -> None:
    class Resetting(Panel):
        def take(self, piece: bytes) -> None:
            raise OSError("hang up")

    with Resetting() as panel:
        fails(image(panel.url), tmp_path, "connection broke|closed the upload")


def test_the_status_ends_too_early(tmp_path: Path) -> None:
    class HangingUp(Panel):
        def install(self) -> None:
            self.tell("RUN")
            self.hang_up()

    class Closing(Panel):
        def install(self) -> None:
            self.frame(struct.pack(">H", 1001), opcode=8)

    for kind in (HangingUp, Closing):
        with kind() as panel:
            fails(image(panel.url), tmp_path, "closed its status connection")


def test_never_a_verdict(tmp_path: Path) -> None:
    class Waiting(Panel):
        def install(self) -> None:
            while not self.stop.wait(0.05):
                self.broadcast({"type": "step", "number": "1", "step": "1", "name": "x", "percent": "50"})

    with Waiting() as panel:
        fails(image(panel.url, deadline="1"), tmp_path, "did not tell how the update ended; .* 1 s in all")


@pytest.mark.parametrize(
    "frames",
    [
        [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"type": "status"}', b'{"type": 1, "status": 2}'],
        [b'{"type": "status", "status": "BANANA"}', b'{"type": "message", "text": 5}', b"1" * 60_000],
        [b'{"type": "message", "level": "99", "text": "\\u001b[31m red"}', b'{"type": "info", "source": "cut'],
    ],
)  # fmt: skip
def test_messages_that_nobody_knows_are_passed_over(tmp_path: Path, frames: list[bytes]) -> None:
    class Babbling(Panel):
        def install(self) -> None:
            for data in frames:
                self.frame(data)
            super().install()

    with Babbling() as panel:
        forward(image(panel.url), tmp_path)


def test_a_message_in_fragments(tmp_path: Path) -> None:
    class Fragmenting(Panel):
        def install(self) -> None:
            self.frame(b'{"type": "status",', fin=False)
            self.frame(b"ping", opcode=9)
            self.frame(b' "status": "SUCCESS"}', opcode=0)

    with Fragmenting() as panel:
        forward(image(panel.url), tmp_path)


@pytest.mark.parametrize("how", ["one", "fragments", "bits", "masked", "binary"])
def test_frames_that_cannot_be(tmp_path: Path, how: str) -> None:
    class Flooding(Panel):
        def install(self) -> None:
            if how == "one":
                self.frame(b"x" * 70_000)
            elif how == "fragments":
                self.frame(b"x" * 1000, fin=False)
                for _ in range(200):
                    self.frame(b"x" * 1000, opcode=0, fin=False)
            elif how == "bits":
                self.frame(b"x", opcode=0x71)
            elif how == "masked":
                for sock in self._sockets:
                    sock.sendall(b"\x81\x81abcdx")
            else:
                self.frame(b"x", opcode=3)

    with Flooding() as panel:
        fails(image(panel.url), tmp_path, "its status makes no sense")


def test_success_of_another_update_is_not_ours(tmp_path: Path) -> None:
    class Busy(Panel):
        def welcome(self, sock: socket.socket) -> None:
            self.tell("SUCCESS")

        def install(self) -> None:
            self.tell("FAILURE")

    with Busy() as panel:
        fails(image(panel.url), tmp_path, "reports FAILURE")


def test_a_device_that_talks_without_end(tmp_path: Path) -> None:
    class Talking(Panel):
        def install(self) -> None:
            for _ in range(3000):
                self.say(6, "blah")
            super().install()

    with Talking() as panel:
        ctx = forward(image(panel.url), tmp_path)
    assert sum("blah" in message for _, message in ctx.logged) == 2000


def test_a_server_that_never_says_a_word(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        fails(image(url, timeout="1"), tmp_path, "could not be connected within 1 s")


def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    fails(image("http://no-such-device.invalid:8080"), tmp_path, "cannot be found")


def test_it_can_be_stopped(tmp_path: Path) -> None:
    class Waiting(Panel):
        def install(self) -> None:
            stopped.set()
            self.stop.wait()

    stopped = threading.Event()
    ctx = FakeContext(str(tmp_path))

    def stop() -> None:
        if stopped.is_set():
            raise Cancelled("stop")

    ctx.before_checkpoint = stop
    with Waiting() as panel, pytest.raises(Cancelled):
        install(image(panel.url), FakeData(UPDATE), ctx)


# -- devices that speak otherwise

PARSER = b"""
function parse(text)
  if text == "broken" then error("what?") end
  if text:match("^progress") then return 2 end
  if text == "all good" then return 3 end
  return 4
end
"""


@pytest.mark.parametrize(
    ("last", "says"), [("all good", ""), ("no room", "reports FAILURE"), ("broken", "what\\?")]
)
def test_a_parser_in_lua(tmp_path: Path, last: str, says: str) -> None:
    pytest.importorskip("lupa")

    class Otherwise(Panel):
        def install(self) -> None:
            for text in ("progress 1", "progress 2", last):
                self.frame(text.encode())

    ctx = FakeContext(str(tmp_path))
    try:
        ctx.lua.shared().run(PARSER, "embedded-script")
        with Otherwise() as panel:
            art = image(panel.url, parser_function="parse")
            if says:
                with pytest.raises(HandlerError, match=says):
                    install(art, FakeData(UPDATE), ctx)
            else:
                install(art, FakeData(UPDATE), ctx)
        with pytest.raises(PreflightRefused, match="no function 'other'"):
            install(image("http://a:1", parser_function="other"), FakeData(UPDATE), ctx)
    finally:
        ctx.lua.close()


# -- TLS, passwords


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


def test_tls(tmp_path: Path, authority: Authority) -> None:
    ca = authority.path("ca.pem")
    with Panel(authority.context()) as panel:
        forward(image(panel.url, cafile=ca), tmp_path, UPDATE * 20)
        assert panel.received == UPDATE * 20
    with Panel(authority.context()) as panel:
        fails(image(panel.url), tmp_path, "its certificate is not accepted")
    with Panel(authority.context("stranger")) as panel:
        fails(image(panel.url, cafile=ca), tmp_path, "its certificate is not accepted: Hostname mismatch")
    with Panel() as panel:
        fails(
            image(panel.url.replace("http:", "https:"), cafile=ca, timeout="1"),
            tmp_path,
            "could not be connected within 1 s",
        )
    with Panel(authority.context()) as panel:
        fails(image(panel.url.replace("https:", "http:")), tmp_path, "closed|broke|no WebSocket")


def test_a_certificate_of_ours(tmp_path: Path, authority: Authority) -> None:
    words = {"cafile": authority.path("ca.pem")}
    own = {"sslcert": authority.path("client.pem"), "sslkey": authority.path("client.key")}
    with Panel(authority.context(ask_client=True)) as panel:
        forward(image(panel.url, **words, **own), tmp_path)
    with Panel(authority.context(ask_client=True)) as panel:
        fails(image(panel.url, **words), tmp_path, "certificate required|broke|no TLS|closed")


def test_certificates_of_the_settings(tmp_path: Path, authority: Authority) -> None:
    files = TlsFiles(*(authority.path(name) for name in ("ca.pem", "client.pem", "client.key")))
    with Panel(authority.context(ask_client=True)) as panel:
        install(image(panel.url), FakeData(UPDATE), FakeContext(str(tmp_path), tls=files))
        assert panel.received == UPDATE
    other = FakeContext(str(tmp_path), tls=TlsFiles("/nowhere", "/nowhere"))
    own = {"sslcert": files.certificate, "sslkey": files.key, "cafile": files.authorities}
    with Panel(authority.context(ask_client=True)) as panel:
        install(image(panel.url, **own), FakeData(UPDATE), other)
        assert panel.received == UPDATE


def test_a_user_and_a_password(tmp_path: Path) -> None:
    class Asking(Panel):
        def refuse(self, head: bytes) -> bytes:
            given = header(head, b"Authorization")
            if given.startswith(b"Digest ") and b'username="ann"' in given and b'nonce="65"' in given:
                return b""
            return (
                b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest qop="auth", realm="lab", nonce="65"\r\n'
                b"Content-Length: 0\r\n\r\n"
            )

    with Asking() as panel:
        url = panel.url.replace("//", "//ann:s%20cret@")
        ctx = forward(image(url), tmp_path)
    assert panel.received == UPDATE
    assert [header(head, b"Authorization").partition(b" ")[0] for head in panel.heads] == [
        b"",
        b"Digest",
        b"Digest",
    ]
    assert not any("s%20cret" in message or "s cret" in message for _, message in ctx.logged)
    with Asking() as panel:
        fails(image(panel.url.replace("//", "//eve:x@")), tmp_path, "refuses the WebSocket with 401")
    with Asking() as panel:
        fails(image(panel.url), tmp_path, "refuses the WebSocket with 401")


# -- before anything is sent


@pytest.mark.parametrize(
    ("art", "match"),
    [
        (image("http://a:1")._replace(compression=Compression.ZLIB), "neither encrypted nor compressed"),
        (image("http://a:1")._replace(cipher="aes-cbc"), "neither encrypted nor compressed"),
        (image("http://a:1", "http://b:1", "http://a:1"), "named twice"),
        (image("ftp://a:1"), "property url"),
        (image("panel:8080"), "property url"),
        (image("http://a:1/?x=y"), "property url"),
        (image("http://a:99999"), "property url"),
    ],
)
def test_what_is_refused_before_anything_is_sent(art: Artifact, match: str, tmp_path: Path) -> None:
    with pytest.raises(PreflightRefused, match=match):
        install(art, FakeData(UPDATE), FakeContext(str(tmp_path)))


def test_nobody_to_send_to(tmp_path: Path) -> None:
    art = image()._replace(properties={})
    with pytest.raises(DescriptionError, match="needs the property url"):
        install(art, FakeData(UPDATE), FakeContext(str(tmp_path)))


def test_what_has_no_length(tmp_path: Path) -> None:
    for data, match in ((FakeData(b""), "is empty"), (FakeData(UPDATE, size_bytes=None), "no known size")):
        with pytest.raises(DescriptionError, match=match):
            install(image("http://a:1"), data, FakeContext(str(tmp_path)))


@pytest.mark.parametrize("library", ["websockets", "urllib3"])
def test_without_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(RegistrationError, match=r"swagent\[forward\]"):
        forward(image("http://a:1"), tmp_path)


def test_several_addresses_of_a_name(tmp_path: Path) -> None:
    """``localhost`` often has ::1 in front, where nobody listens."""
    with Panel() as panel:
        forward(image(f"http://localhost:{panel.port}"), tmp_path)
    with suppress(OSError), Panel(host="::1") as panel:
        forward(image(f"http://[::1]:{panel.port}"), tmp_path)
        assert panel.complete
