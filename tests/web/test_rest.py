"""SWUpdate's REST and WebSocket, with an installer that only counts."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from swagent.errors import ArchiveError, Busy
from swagent.ipc import Notification, Progress
from swagent.web.options import WebOptions

from .double import OPEN, Double, serving

Work = Callable[[aiohttp.ClientSession, str, Double], Awaitable[None]]
DATA = bytes(range(256)) * 8000


def run(work: Work, options: WebOptions = OPEN) -> Double:
    """Do something as a client."""

    async def main() -> Double:
        double = Double()
        async with serving(double, options) as base, aiohttp.ClientSession() as client:
            async with asyncio.timeout(60):
                await work(client, base, double)
        return double

    return asyncio.run(main())


def form(data: bytes = DATA, name: str = "up.swu", field: str = "file") -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field(field, data, filename=name)
    return made


@pytest.mark.parametrize("path", ["/upload", "/x/y/upload"])
def test_an_upload_reaches_the_installer_whole(path: str) -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.post(base + path, data=form()) as answer:
            assert answer.status == 200
            assert await answer.text() == f"Ok, up.swu - {len(DATA)} bytes.\r\n"
            assert answer.content_type == "text/plain"
            assert answer.headers["Connection"] == "close"
        await double.ended.wait()

    assert run(work).uploads == [("up.swu", len(DATA), hashlib.sha256(DATA).hexdigest())]


def test_the_name_of_the_field_does_not_matter() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.post(f"{base}/upload", data=form(b"x", "b.swu", "swupdate-package")) as answer:
            assert answer.status == 200
        await double.ended.wait()

    assert run(work).uploads[0][0] == "b.swu"


def test_a_busy_installer_is_told_in_swupdates_words_and_then_in_ours() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        double.refusal = Busy("another update is running", hint="wait for it")
        async with client.post(f"{base}/upload", data=form()) as answer:
            assert answer.status == 500
            text = await answer.text()
            assert text == "Failed to queue command\nanother update is running\nwait for it\n"

    assert run(work).uploads == []


@pytest.mark.parametrize(
    ("data", "kind", "status", "says"),
    [
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--\r\n", "b", 400, "filename not set"),
        (b"--b--\r\n", "b", 400, "filename not set"),
        (b"", "b", 400, "multipart"),
        (b"garbage" * 1000, "b", 400, "multipart"),
        (b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\nContent-Encoding: gzip\r\n\r\nx\r\n--b--\r\n",
         "b", 400, "encoded"),
        (b"x", "", 415, "multipart"),
    ],
)  # fmt: skip
def test_what_is_no_upload_is_refused_before_the_installer_hears_of_it(
    data: bytes, kind: str, status: int, says: str
) -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        content = f"multipart/form-data; boundary={kind}" if kind else "application/octet-stream"
        async with client.post(f"{base}/upload", data=data, headers={"Content-Type": content}) as answer:
            assert answer.status == status
            assert says in await answer.text()

    assert run(work).uploads == []


def test_an_installer_that_stops_reading_ends_the_upload_with_its_reason() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        double.leaves_at = 100_000
        error = {"class": "HashError", "message": "it is not what was promised", "hint": ""}
        sending = asyncio.create_task(client.post(f"{base}/upload", data=form(bytes(64 * 1024 * 1024))))
        await double.ended.wait()
        double.say({"event": "update.verdict", "exit_code": 21, "error": error})
        async with await sending as answer:
            assert answer.status == 422
            assert await answer.text() == "Installation failed: it is not what was promised\n"

    run(work)


def test_too_much_is_refused_whether_it_says_so_or_not() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.post(f"{base}/upload", data=form(bytes(300_000))) as answer:
            assert answer.status == 413
        assert double.uploads == []
        chunked = form(bytes(120_000))()
        async with client.post(
            f"{base}/upload", data=_pieces(chunked), headers={"Content-Type": chunked.content_type}
        ) as answer:
            assert answer.status == 413
            assert "100000" in await answer.text()

    run(work, OPEN._replace(upload_max_bytes=100_000))


async def _pieces(payload: aiohttp.Payload) -> AsyncIterator[bytes]:
    data = await payload.as_bytes()
    for at in range(0, len(data), 50_000):
        yield data[at : at + 50_000]


def test_an_upload_that_says_nothing_for_long_ends() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        host, port = base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\nabc"
        writer.write(
            b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 10000\r\n\r\n" + head
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()

    run(work, OPEN._replace(silence_s=1))


def test_an_upload_can_be_cancelled_while_it_comes() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.post(f"{base}/api/cancel") as answer:
            assert answer.status == 409
        begun = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\n"
            while True:
                yield bytes(1000)
                begun.set()
                await asyncio.sleep(0.01)

        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        sending = asyncio.create_task(client.post(f"{base}/upload", data=endless(), headers=kind))
        await begun.wait()
        while True:
            async with client.post(f"{base}/api/cancel") as answer:
                if answer.status == 200:
                    break
        try:
            async with await sending as answer:
                assert answer.status == 409
        except aiohttp.ClientError:
            pass  # it was still sending
        await double.ended.wait()

    run(work)


def test_restart() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.post(f"{base}/restart", data={"swupdate": "reboot"}) as answer:
            assert (answer.status, await answer.text()) == (201, "Device will reboot now.\n")
        double.post_update_works = False
        async with client.post(f"{base}/restart") as answer:
            assert (answer.status, await answer.text()) == (500, "Failed to queue command\n")
        for path in ("/restart", "/upload"):
            async with client.get(base + path) as answer:
                assert (answer.status, await answer.text()) == (405, "Method Not Allowed\n")

    assert run(work).restarts == 2


def test_the_websocket_says_what_swupdates_says_to_the_byte() -> None:
    """The frames of SWUpdate 2022.12 for these messages; its own differ in the texts of the log."""

    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.ws_connect(f"{base}/ws", protocols=["swupdate-status-protocol"]) as listener:
            assert listener.protocol == "swupdate-status-protocol"
            await listener.send_str("anything")
            info = '{"0": {"VERSION" : "1.0.1"}}'
            double.say(
                Progress(1, origin=1, info="x.swu"),
                Progress(2, origin=1, info=info),
                Progress(2, origin=1, steps=1, step=1, image="app.conf"),
                Progress(8, origin=1, steps=1, step=1, image="app.conf", percent=40),
                Progress(3, origin=1, steps=1, step=1, image="app.conf", percent=40),
            )
            frames = [(await listener.receive_str()) for _ in range(8)]
            assert frames == [
                '{\r\n\t"type": "status",\r\n\t"status": "START"\r\n}\r\n',
                '{\r\n\t"type": "source",\r\n\t"source": "WEBSERVER"\r\n}\r\n',
                '{\r\n\t"type": "info",\r\n\t"source": "x.swu"\r\n}\r\n',
                '{\r\n\t"type": "status",\r\n\t"status": "RUN"\r\n}\r\n',
                '{\r\n\t"type": "info",\r\n\t"source": "{\\"0\\": {\\"VERSION\\" : \\"1.0.1\\"}}"\r\n}\r\n',
                '{\r\n\t"type": "step",\r\n\t"number": "1",\r\n\t"step": "1",\r\n\t"name": "app.conf",\r\n\t'
                '"percent": "0"\r\n}\r\n',
                '{\r\n\t"type": "step",\r\n\t"number": "1",\r\n\t"step": "1",\r\n\t"name": "app.conf",\r\n\t'
                '"percent": "40"\r\n}\r\n',
                '{\r\n\t"type": "status",\r\n\t"status": "SUCCESS"\r\n}\r\n',
            ]
            double.say(Notification(2, 0, 3, "SWUPDATE successful !"), Notification(2, 0, 1, 'a "quote"'))
            assert await listener.receive_str() == (
                '{\r\n\t"type": "message",\r\n\t"level": "6",\r\n\t"text": "SWUPDATE successful !"\r\n}\r\n'
            )
            assert '"3"' in await listener.receive_str()

    assert run(work).restarts == 1  # after a success of its own upload


@pytest.mark.parametrize(("origin", "wanted"), [(4, True), (1, False)])
def test_the_post_update_command_is_for_own_uploads_and_can_be_left_out(origin: int, wanted: bool) -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.ws_connect(f"{base}/") as listener:
            double.say(Progress(3, origin=origin))
            await listener.receive_str()
            await asyncio.sleep(0.05)

    assert run(work, OPEN._replace(post_update=wanted)).restarts == 0


def test_a_page_that_comes_late_sees_what_is_going_on() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        events: list[dict[str, object]] = [
            {"event": "update.started", "source": "a.swu"},
            {"event": "artifact.progress", "artifact": "x", "bytes": 1},
            {"event": "artifact.progress", "artifact": "x", "bytes": 2},
        ]
        async with client.ws_connect(f"{base}/api/events") as early:
            assert (await early.receive_json())["events"] == []
            double.say(*events)
            for event in events:
                while (frame := await early.receive_json()) != event:
                    assert "page" in frame
        async with client.ws_connect(f"{base}/api/events") as late:
            snapshot = await late.receive_json()
            assert snapshot["events"] == [events[0], events[2]]
            assert snapshot["here"] is True

    run(work)


def test_questions_go_to_the_installer() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        double.facts = {"version": "1"}
        async with client.get(f"{base}/api/device") as answer:
            assert await answer.json() == {"version": "1"}
        async with client.post(f"{base}/api/image", data=b"head") as answer:
            assert await answer.json() == {"version": "1"}
        double.facts = Busy("no", hint="later")
        async with client.post(f"{base}/api/image", data=b"head") as answer:
            assert answer.status == 422
            assert await answer.json() == {"error": {"class": "Busy", "message": "no", "hint": "later"}}
        double.facts = ArchiveError("the file ends in the middle of a member")
        for size, status in ((4, 422), (5, 200)):
            async with client.post(f"{base}/api/image?size={size}", data=b"head") as answer:
                assert answer.status == status
                assert ("more" in await answer.json()) is (status == 200)
        async with client.post(f"{base}/api/image", data=bytes(10_000_000)) as answer:
            assert answer.status == 413

    assert run(work).asked == [("device", b""), *[("image", b"head")] * 4]


def test_answers_and_addresses_go_to_the_installer() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        for path, form, status in (
            ("answer", {"question": "q1", "answer": "force"}, 200),
            ("answer", {"question": "q2", "answer": "force"}, 409),
            ("answer", {}, 409),
            ("fetch", {"url": "http://host/up.swu"}, 200),
            ("fetch", {}, 409),
        ):
            async with client.post(f"{base}/api/{path}", data=form) as answer:
                assert (path, form, answer.status) == (path, form, status)

    double = run(work)
    assert (double.answers, double.fetched) == (["force"], ["http://host/up.swu"])


def test_a_folder_can_be_served_in_place_of_the_page(tmp_path: Path) -> None:
    root = tmp_path / "www"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("theirs")
    (root / "sub" / "<a>.txt").write_text("text")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "library").write_text("shared")
    (root / "out").symlink_to(tmp_path / "library")

    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        for path, status in (("/", 200), ("/sub/%3Ca%3E.txt", 200), ("/out", 200), ("/../secret", 404), ("/sub/", 404),
                             ("/%2e%2e/secret", 404), ("/%00", 404), ("/nothing", 404)):  # fmt: skip
            async with client.get(base + path) as answer:
                assert (path, answer.status) == (path, status)

    run(work, OPEN._replace(root=str(root)))

    async def listed(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        async with client.get(f"{base}/sub") as answer:
            assert answer.status == 200
            assert "&lt;a&gt;.txt" in await answer.text()

    run(listed, OPEN._replace(root=str(root), listing=True))


def test_every_answer_has_its_headers() -> None:
    async def work(client: aiohttp.ClientSession, base: str, double: Double) -> None:
        for path in ("/", "/nothing", "/upload"):
            async with client.get(base + path) as answer:
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Server"] == "swagent"

    run(work)
