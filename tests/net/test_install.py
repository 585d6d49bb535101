"""`swagent -i URL`, `check URL` and `info URL` as typed: targets, boot environment, exit codes, bytes fetched."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.device import OLD_ENV, Device
from tests.faults.images import Image, Member, ab_image, archive, described, entry, noise, signed
from tests.programs import PROJECT, Done, run, run_swagent

from .authority import Authority
from .server import Answer, Exchange, Server, basic, serving

QUICK = ("--retry-wait", "0", "--timeout", "5")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "unit")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ca")


def image_of(device: Device, size_bytes: int = 60_000, seed: int = 6, version: str = "2.0") -> Image:
    """An image for the second copy, which the boot environment then names."""
    return ab_image(str(device.root), plain=noise(size_bytes, seed), version=version)


def install(device: Device, url: str, *more: str, options: tuple[str, ...] = QUICK) -> Done:
    words = ["-i", url, *device.options(), *options, *more]
    done = run_swagent(words, device.folder, STATE_DIRECTORY=str(device.folder / "state"))
    assert "Traceback" not in done.text, done.text
    return Done(done.code, done.text if "--json" in more else " ".join(done.text.split()))  # it breaks lines


def holds(device: Device, image: Image) -> None:
    """The update is there, and boots next."""
    assert (device.root / "slot-b.img").read_bytes() == image.holds["slot-b.img"]
    assert device.env() == {**OLD_ENV, **image.env, "ustate": "1"}


def boots_as_before(device: Device) -> None:
    """Whatever was written, what boots is what booted."""
    assert device.env()["slot"] == OLD_ENV["slot"]


def untouched(device: Device) -> None:
    assert device.env() == OLD_ENV
    assert (device.root / "slot-b.img").read_bytes() == b"old second copy\n" * 100


def serve(**how: object) -> Answer:
    return lambda exchange: exchange.serve(**how)  # type: ignore[arg-type]  # the arguments of serve


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_cut_at_nine_tenths_costs_little(device: Device, how: str) -> None:
    image = image_of(device, 2_000_000)
    raw = image.raw
    cut = len(raw) * 9 // 10
    with serving(raw, serve(cut_bytes=cut, how=how)) as server:
        done = install(device, server.url, "--json")
        assert done.code == 0, done.text
        holds(device, image)
        if how == "close":  # of a reset, what lies unread in the kernel's buffers may be lost, and come again
            assert server.ranges == ["", f"bytes={cut}-"]
            assert server.sent_bytes < len(raw) + 2000
        assert "attempt 1 of 3" in done.text


def new_version(device: Device) -> Answer:
    raw = image_of(device, 2_000_000, seed=7, version="3.0").raw

    def answer(exchange: Exchange) -> None:
        exchange.server.content = raw
        exchange.server.identity |= {"ETag": '"v2"'}
        exchange.serve()

    return answer


@pytest.mark.parametrize(
    "fault", ["new version", "lies", "no ranges", "gone", "cut for good", "stall", "not whole"]
)
def test_what_breaks_off_does_not_boot(device: Device, fault: str) -> None:
    image = image_of(device, 2_000_000)
    raw = image.raw
    other = image_of(device, 2_000_000, seed=7).raw
    assert len(other) == len(raw)
    after: Answer = {
        "new version": new_version(device),
        "lies": serve(
            content=other, Content_Range=f"bytes 0-{len(raw) - 1}/{len(raw)}", Content_Length=len(raw)
        ),
        "no ranges": serve(ranges=False),
        "gone": lambda exchange: exchange.refuse(410),
        "cut for good": serve(cut_bytes=0),
        "stall": serve(cut_bytes=10, how="stall"),
        "not whole": lambda exchange: exchange.refuse(416),
    }[fault]
    with serving(raw, serve(cut_bytes=1_000_000)) as server:
        server.usual = after
        done = install(device, server.url, options=("--retry-wait", "0", "--timeout", "1", "--retries", "1"))
    assert done.code == (51 if fault == "stall" else 50), done.text
    assert "Traceback" not in done.text
    boots_as_before(device)
    with serving(raw) as server:
        assert install(device, server.url).code == 0
    holds(device, image)


def test_a_server_that_mixes_under_one_name_is_caught_by_the_digest(device: Device) -> None:
    """It keeps the ETag of the old file: only the signed digest can tell."""
    raw = image_of(device, 2_000_000).raw
    other = image_of(device, 2_000_000, seed=7).raw
    with serving(raw, serve(cut_bytes=1_000_000), serve(content=other)) as server:
        done = install(device, server.url)
    assert done.code in (10, 21), done.text
    boots_as_before(device)


def test_a_file_that_is_shorter_than_its_member_is_refused_before_it_is_written(device: Device) -> None:
    raw = image_of(device, 500_000).raw
    with serving(raw[:400_000]) as server:
        done = install(device, server.url)
    assert done.code == 10, done.text
    untouched(device)


def test_refusals_touch_nothing(device: Device) -> None:
    with serving(b"no archive" * 1000) as server:
        assert install(device, server.url).code == 10
        server.usual = lambda exchange: exchange.refuse(404)
        assert install(device, server.url).code == 50
        server.usual = serve(Content_Encoding="gzip")
        assert install(device, server.url).code == 50
    assert install(device, server.url, "--retries", "0").code == 50
    for word in ("http://", "https://", "http://a b/", "http://[::1/x", "http://host:99999999/x"):
        assert install(device, word).code == 2, word
    assert install(device, server.url, "--retries", "many").code == 2
    assert install(device, server.url, "--max-download-speed", "fast").code == 2
    untouched(device)


def test_a_dry_run_and_a_saved_copy(device: Device) -> None:
    image = image_of(device)
    with serving(image.raw, serve(cut_bytes=30_000)) as server:
        assert install(device, server.url, "-n").code == 0
        untouched(device)
        server.plan = [serve(cut_bytes=30_000)]
        assert install(device, server.url, "-o", "saved.swu").code == 0
    assert (device.folder / "saved.swu").read_bytes() == image.raw
    holds(device, image)


def test_everything_is_verified_first_if_wanted(device: Device) -> None:
    image = image_of(device, 2_000_000)
    raw = bytearray(image.raw)
    raw[-1000] ^= 1
    with serving(bytes(raw)) as server:
        assert install(device, server.url, "--verify-first").code == 21
        untouched(device)
        server.content = image.raw
        assert install(device, server.url, "--verify-first").code == 0
    holds(device, image)
    assert [path.name for path in device.tmp.iterdir() if path.name.startswith("swagent-")] == []


def test_events_tell_of_attempts(device: Device) -> None:
    with serving(image_of(device).raw, lambda exchange: exchange.refuse(503)) as server:
        done = install(device, server.url, "--json")
    lines = [json.loads(line) for line in done.text.splitlines()]
    assert any(line["event"] == "log" and "answers 503" in line["message"] for line in lines)
    assert (lines[-1]["event"], lines[-1]["result"], done.code) == ("update.verdict", "installed", 0)


def test_a_signal_ends_a_silent_download(device: Device) -> None:
    with serving(image_of(device, 2_000_000).raw, serve(cut_bytes=1_000_000, how="stall")) as server:
        words = ["-i", server.url, *device.options(), "--timeout", "60"]
        process = subprocess.Popen(
            [sys.executable, "-m", "swagent", *words],
            cwd=PROJECT,
            env={
                **os.environ,
                "TMPDIR": str(device.tmp),
                "RUNTIME_DIRECTORY": str(device.run),
                "STATE_DIRECTORY": str(device.folder / "state"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        while server.sent_bytes < 1_000_000:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=10)
    assert process.returncode == 80, text
    boots_as_before(device)


# -- looking without fetching


def large(device: Device) -> tuple[Image, bytes]:
    """Two large members between small ones."""
    members = [
        Member(name, noise(size, len(name)))
        for name, size in (("big.img", 3_000_000), ("bigger.img", 3_000_001))
    ]
    root = device.root
    text = described({"images": [entry(member, device=f"{root}/slot-b.img") for member in members]})
    parts = signed(text, *members, Member("readme", b"hello"))
    return Image("large", b"070702", parts), archive(parts)


def test_check_and_info_fetch_only_what_they_read(device: Device) -> None:
    _, raw = large(device)
    with serving(raw) as server:
        info = run_swagent(["info", server.url, "-k", str(device.folder / "public.pem")], device.folder)
        assert info.code == 0, info.text
        assert "bigger.img" in info.text
        assert "readme" in info.text
        assert server.sent_bytes < 150_000
        assert all(server.ranges)
        assert {headers.get("if-range") for _, headers in server.requests[1:]} == {'"v1"'}
        server.sent_bytes = 0
        check = run_swagent(["check", server.url, *device.options()[:4]], device.folder)
        assert check.code == 0, check.text
        assert "big.img" in check.text
        assert server.sent_bytes < 150_000


@pytest.mark.parametrize("identity", [{}, {"ETag": '"v1"'}], ids=["no version", "no ranges"])
def test_check_and_info_read_on_where_there_are_no_ranges(
    device: Device, identity: dict[str, str | int]
) -> None:
    _, raw = large(device)
    with serving(raw) as server:
        server.identity = identity
        server.usual = serve(ranges=not identity)
        info = run_swagent(["info", server.url, "--json"], device.folder)
        names = [member["name"] for member in json.loads(info.text)["members"]]
        assert names == ["sw-description", "sw-description.sig", "big.img", "bigger.img", "readme"]
        assert run_swagent(["check", server.url, *device.options()[:4]], device.folder).code == 0


def test_a_file_that_changes_between_ranges_is_not_believed(device: Device) -> None:
    _, raw = large(device)

    def changed(exchange: Exchange) -> None:
        exchange.server.identity["ETag"] = '"v2"'
        exchange.serve()

    with serving(raw, Exchange.serve, changed) as server:
        info = run_swagent(["info", server.url], device.folder)
    assert info.code == 50, info.text
    with serving(raw, Exchange.serve, serve(ETag='"v3"')) as server:
        info = run_swagent(["info", server.url], device.folder)
    assert info.code == 50, info.text
    assert "changed" in info.text


def test_ranges_are_tried_again(device: Device) -> None:
    _, raw = large(device)
    with serving(raw, serve(cut_bytes=100), lambda exchange: exchange.refuse(503)) as server:
        server.plan += [Exchange.serve, serve(cut_bytes=100, how="reset")]
        assert run_swagent(["info", server.url, *QUICK], device.folder).code == 0


# -- who is who


def test_tls(device: Device, authority: Authority) -> None:
    image = image_of(device)
    ca = ("--cafile", authority.path("ca.pem"))
    with serving(image.raw, tls=authority.context()) as server:
        stranger = install(device, server.url)
        assert stranger.code == 50, stranger.text
        assert "certificate" in stranger.text
        assert "attempt" not in stranger.text
        assert install(device, server.url.replace("localhost", "127.0.0.1"), *ca).code == 50
        assert server.requests == []
        untouched(device)
        server.plan = [serve(cut_bytes=30_000, how="reset")]
        assert install(device, server.url, *ca).code == 0
        holds(device, image)
        assert run_swagent(["info", server.url, *ca], device.folder).code == 0
    with serving(image.raw, tls=authority.context("stranger")) as server:
        assert install(device, server.url, *ca).code == 50
        assert server.requests == []
        unwise = device.folder / "unwise.cfg"
        unwise.write_text("globals : { }; download : { nocheckcert = true; };")
        done = install(device, server.url, "-f", str(unwise), "--json")
        assert done.code == 0
        assert "anybody can play the server" in done.text


def test_a_client_certificate(device: Device, authority: Authority) -> None:
    image = image_of(device)
    ca = ("--cafile", authority.path("ca.pem"))
    with serving(image.raw, tls=authority.context(ask_client=True)) as server:
        without = install(device, server.url, *ca)
        assert without.code == 50, without.text
        untouched(device)
        shown = ("--sslcert", authority.path("client.pem"), "--sslkey", authority.path("client.key"))
        done = install(device, server.url, *ca, *shown)
        assert done.code == 0, done.text
        holds(device, image)
    for bad in (
        ("--cafile", "missing"),
        ("--sslcert", "missing"),
        ("--sslcert", authority.path("client.pem")),
    ):
        assert install(device, server.url, *bad).code == 70, bad


def test_never_from_https_to_http(device: Device, authority: Authority) -> None:
    with serving(image_of(device).raw) as plain, serving(b"", tls=authority.context()) as server:
        server.usual = lambda exchange: exchange.refuse(302, Location=plain.url)
        done = install(device, server.url, "--cafile", authority.path("ca.pem"))
        assert done.code == 50, done.text
        assert "redirects from https" in done.text
        assert plain.requests == []
    untouched(device)


def with_proxy(device: Device, server: Server, proxy: Server, *more: str) -> Done:
    settings = device.folder / "proxy.cfg"
    settings.write_text(
        f'globals : {{ }}; download : {{ proxy = "http://me:hidden@localhost:{proxy.port}"; }};'
    )
    return install(device, server.url, "-f", str(settings), *more)


def test_a_proxy(device: Device, authority: Authority) -> None:
    image = image_of(device)
    with serving(image.raw) as proxy, serving(b"") as server:
        done = with_proxy(device, server, proxy)
        assert done.code == 0, done.text
        assert proxy.proxied == [f"{server.url} {basic('me:hidden')}"]
        assert server.requests == []
        assert "hidden" not in done.text
    device.reset()
    with serving(b"") as proxy, serving(image.raw, tls=authority.context()) as server:
        done = with_proxy(device, server, proxy, "--cafile", authority.path("ca.pem"))
        assert done.code == 0, done.text
        assert proxy.proxied == [f"CONNECT localhost:{server.port} {basic('me:hidden')}"]
        assert "proxy-authorization" not in server.requests[0][1]
        holds(device, image)
    assert with_proxy(device, server, proxy, "--retries", "0").code == 50


def test_secrets_are_never_shown(device: Device) -> None:
    settings = device.folder / "secret.cfg"
    settings.write_text('globals : { }; download : { authentication = "device:hush"; };')
    with serving(b"", lambda exchange: exchange.refuse(503)) as server:
        server.usual = lambda exchange: exchange.refuse(401)
        url = server.url.replace("localhost", "user:hush@localhost") + "?token=hush"
        for more in ((), ("--json",), ("-v",), ("-f", str(settings))):
            done = install(device, url, *more)
            assert done.code == 50
            assert "hush" not in done.text
        assert run_swagent(["info", url], device.folder).text.count("hush") == 0
        assert {headers["authorization"] for _, headers in server.requests} == {
            basic("user:hush"),
            basic("device:hush"),
        }
    shown = run_swagent(["config", "-f", str(settings)], device.folder)
    assert "hush" not in shown.text
    assert "(set)" in shown.text


def test_without_the_library(device: Device) -> None:
    program = "import sys; sys.modules['urllib3'] = None; from swagent.cli.main import main; sys.exit(main())"
    env = {"PYTHONPATH": str(PROJECT), "RUNTIME_DIRECTORY": str(device.run), "TMPDIR": str(device.tmp)}
    for words in (["-n", "-i", "http://localhost/x", "--allow-unsigned"], ["info", "http://localhost/x"]):
        done = run([sys.executable, "-c", program, *words], cwd=device.folder, env=env)
        assert done.code == 71, done.text
        assert "swagent[http]" in done.text


def test_the_library_is_not_loaded_for_files(device: Device) -> None:
    program = (
        "import sys, swagent.cli.install; sys.exit('urllib3' in sys.modules or 'swagent.net' in sys.modules)"
    )
    assert run([sys.executable, "-c", program], env={"PYTHONPATH": str(PROJECT)}).code == 0
