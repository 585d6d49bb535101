"""The page in a real browser (Debian's Chromium, headless), in front of a real daemon that really installs.

Screenshots are kept below ``build/screenshots``.
"""

import hashlib
import os
import re
import signal
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.authdb.databases import a_list, make
from tests.conftest import KeyRing
from tests.daemon.running import signed_image, until
from tests.programs import PROJECT, must, need

from .running import ANYBODY, Served, big_image, by_a_stranger, served

SCREENSHOTS = PROJECT / "build" / "screenshots"
WAIT_MS = 60_000
WIDE, NARROW = {"width": 1100, "height": 900}, {"width": 375, "height": 740}
PAGE_BYTES_MAX = 100 * 1024


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        started = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()


class Visitor:
    """Somebody with the page open. No line on its console may be an error."""

    def __init__(self, browser: Any, there: Served, **wishes: Any) -> None:
        self.context = browser.new_context(viewport=wishes.pop("viewport", WIDE), **wishes)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(there.base)
        self.page.wait_for_selector("#idle:not([hidden]), #ended:not([hidden])")
        if self.page.is_visible("#another"):
            self.page.click("#another")
        self.sees("idle")

    def sees(self, state: str, title: str = "") -> None:
        """Wait for a state of the page."""
        self.page.wait_for_selector(f"#{state}:not([hidden])")
        if title:
            self.reads(f"#{state}-title", title)

    def reads(self, selector: str, words: str) -> None:
        """Wait until there are such words."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_text(re.compile(words), timeout=WAIT_MS)

    def chooses(self, image: Path) -> None:
        self.page.set_input_files("#file", str(image))
        self.reads("#asked-title", "^(?!Looking)")

    def installs(self, image: Path) -> None:
        self.chooses(image)
        self.page.click("#install")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def shot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def leaves(self) -> None:
        self.context.close()
        assert self.faults == []


def test_a_good_update_from_choosing_it_to_the_verdict(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    image = signed_image(tmp_path, key_ring, bytes(3_000_000), more='description = "July maintenance";')
    with served(tmp_path, key_ring, ANYBODY, "-p", f"touch {tmp_path}/hook") as there:
        anna = Visitor(browser, there)
        assert anna.text("#title") == "Acme Gateway"
        anna.reads("#unit", "board rev 1.0")
        anna.shot("idle")
        anna.chooses(image)
        assert not there.target.exists() and there.idle(), "nothing happens before Install"
        assert anna.text("#asked-title") == "Install 1.0.1?"
        assert anna.text("#asked-lead") == "July maintenance"
        facts = anna.text("#facts")
        assert re.search(r"Signed by\s+Tests \(", facts) and "board rev 1.0" in facts
        assert str(there.target) in anna.text("#contents")
        anna.shot("asked")
        anna.page.click("#install")
        anna.sees("ended", "Installed 1.0.1")
        assert "reboot" in anna.text("#next")
        assert there.target.stat().st_size == 3_000_000
        until((tmp_path / "hook").exists, "the post-update command")
        anna.page.wait_for_selector("#history:not([hidden])")
        assert "1.0.1" in anna.text("#history")
        anna.page.click("#log summary")
        anna.reads("#lines", "signed by Tests")
        anna.shot("ended-installed")
        with anna.page.expect_download() as download:
            anna.page.click("#keep-log")
        assert "1.0.1" in Path(download.value.path()).read_text()
        (tmp_path / "hook").unlink()
        anna.page.click("#restart-now")
        anna.page.click("#sure button.main")
        until((tmp_path / "hook").exists, "the restart")
        anna.page.click("#another")
        anna.sees("idle")
        anna.leaves()


def test_a_bad_signature_is_said_before_anything_is_sent(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    image = signed_image(tmp_path, by_a_stranger(key_ring))
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        anna.chooses(image)
        assert anna.text("#asked-title") == "This file cannot be installed"
        assert "not among the trusted" in anna.text("#refusal")
        assert not anna.page.is_visible("#install")
        anna.shot("asked-bad-signature")
        assert not there.target.exists() and there.idle()
        anna.page.click("#drop-it")
        anna.sees("idle")
        anna.leaves()


@pytest.mark.slow
def test_an_update_for_other_hardware_is_refused_with_the_reason(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring, ANYBODY, "-H", "board:7.0") as there:
        anna = Visitor(browser, there)
        anna.chooses(image)
        assert anna.text("#asked-title") == "This device refuses the update"
        assert "7.0" in anna.text("#refusal")
        assert "not for this device" in anna.text("#facts")
        assert not anna.page.is_visible("#install")
        anna.shot("asked-wrong-hardware")
        anna.leaves()


@pytest.mark.slow
def test_no_image_at_all(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    (tmp_path / "photo.swu").write_bytes(b"\xff\xd8\xff" + bytes(1_000_000))
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        anna.chooses(tmp_path / "photo.swu")
        assert anna.text("#asked-title") == "This file cannot be installed"
        anna.leaves()


@pytest.mark.slow
def test_a_bad_artifact_fails_with_its_reason_and_the_next_step(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    image = signed_image(tmp_path, key_ring, b"new content\n" * 9)
    image.write_bytes(image.read_bytes().replace(b"new content\n" * 9, b"wen content\n" * 9))
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        anna.installs(image)
        anna.sees("ended")
        assert "sha256" in anna.text("#ended") or "promised" in anna.text("#ended")
        assert anna.page.is_visible("#next")
        anna.shot("ended-failed")
        anna.leaves()


@pytest.mark.slow
def test_a_target_that_fails_while_much_is_still_to_come_is_told_with_its_reason(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    (tmp_path / "target").mkdir()
    image = big_image(tmp_path, key_ring, 64 << 20)
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        anna.installs(image)
        anna.sees("ended", "failed")
        anna.reads("#reason", "directory")
        anna.leaves()


def test_two_browsers_see_the_same_and_one_is_loaded_anew_in_the_middle(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    image = big_image(tmp_path, key_ring, 24 << 20)
    with served(tmp_path, key_ring) as there:
        anna, bob = Visitor(browser, there), Visitor(browser, there, viewport=NARROW, color_scheme="dark")
        slowed(anna, 4 << 20)
        anna.installs(image)
        for visitor in (anna, bob):
            visitor.sees("working", "Installing 1.0.1")
            visitor.reads("#percent", "[1-9][0-9] %")
        bob.page.click("#log summary")
        bob.shot("working-phone-dark")
        anna.shot("working")
        bob.page.reload()
        bob.sees("working", "Installing 1.0.1")
        assert "file" in bob.text("#artifacts")
        slowed(anna, 0)
        for visitor in (anna, bob):
            visitor.sees("ended", "Installed 1.0.1")
        bob.page.reload()
        bob.sees("ended", "Installed 1.0.1")
        bob.shot("ended-phone-dark")
        for visitor in (anna, bob):
            visitor.leaves()
        assert there.target.stat().st_size == 24 << 20


@pytest.mark.slow
def test_the_one_who_sends_goes_away_in_the_middle(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    image = big_image(tmp_path, key_ring, 24 << 20)
    with served(tmp_path, key_ring) as there:
        anna, bob = Visitor(browser, there), Visitor(browser, there)
        slowed(anna, 4 << 20)
        anna.installs(image)
        bob.sees("working", "Installing 1.0.1")
        anna.leaves()
        bob.sees("ended", "failed")
        bob.shot("ended-cut")
        until(there.idle, "the end of the update")
        bob.page.click("#another")
        bob.installs(image)
        bob.sees("ended", "Installed 1.0.1")
        bob.leaves()


@pytest.mark.slow
def test_the_network_goes_away_in_the_middle_and_comes_back(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    image = big_image(tmp_path, key_ring, 24 << 20)
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        slowed(anna, 4 << 20)
        anna.installs(image)
        anna.sees("working", "Installing 1.0.1")
        os.kill(there.web_pid, signal.SIGKILL)  # every connection breaks; the daemon starts it again
        anna.page.wait_for_selector("#away", state="visible")
        anna.page.wait_for_selector("#away", state="hidden")
        anna.sees("ended", "failed")
        anna.shot("ended-network-cut")
        slowed(anna, 0)
        anna.page.click("#another")
        anna.installs(image)
        anna.sees("ended", "Installed 1.0.1")
        anna.leaves()


@pytest.mark.slow
def test_an_update_is_cancelled(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    image = big_image(tmp_path, key_ring, 24 << 20)
    with served(tmp_path, key_ring) as there:
        anna, bob = Visitor(browser, there), Visitor(browser, there)
        slowed(anna, 2 << 20)
        anna.installs(image)
        bob.sees("working", "Installing 1.0.1")
        bob.page.click("#cancel")
        for visitor in (anna, bob):
            visitor.sees("ended", "Cancelled")
        anna.shot("ended-cancelled")
        for visitor in (anna, bob):
            visitor.leaves()


def slowed(visitor: Visitor, bytes_per_s: int) -> None:
    """Let what it sends pass at this speed, 0 for as fast as it goes."""
    session = visitor.context.new_cdp_session(visitor.page)
    limit = bytes_per_s or -1
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": limit},
    )


# -- for everybody


@pytest.mark.slow
def test_the_keyboard_is_enough(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        anna.page.bring_to_front()  # only the page in front may ask for a file
        anna.page.keyboard.press("Tab")
        assert anna.page.evaluate("document.activeElement.id") == "file"
        with anna.page.expect_file_chooser() as chooser:
            anna.page.keyboard.press("Space")
        chooser.value.set_files(str(image))
        anna.sees("asked", "Install 1.0.1")
        assert anna.page.evaluate("document.activeElement.id") == "asked-title", "what is new has the focus"
        anna.page.keyboard.press("Tab")
        assert anna.page.evaluate("document.activeElement.id") == "install"
        anna.page.keyboard.press("Enter")
        anna.sees("ended", "Installed")
        assert "Installed 1.0.1" in anna.page.text_content("#said")
        anna.leaves()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_any_state(
    scheme: str, browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    pytest.importorskip("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe

    good = signed_image(tmp_path, key_ring).rename(tmp_path / "good.swu")
    bad = signed_image(tmp_path, by_a_stranger(key_ring)).rename(tmp_path / "bad.swu")
    big = big_image(tmp_path, key_ring, 24 << 20)

    def judged(visitor: Visitor, state: str) -> None:
        found = Axe().run(visitor.page).response["violations"]
        faults = [(each["id"], each["impact"], [node["html"] for node in each["nodes"]]) for each in found]
        assert faults == [], state

    with served(tmp_path, key_ring) as there:
        for viewport in (WIDE, NARROW):
            anna = Visitor(browser, there, viewport=viewport, color_scheme=scheme)
            judged(anna, "idle")
            anna.chooses(bad)
            judged(anna, "refused")
            anna.page.click("#drop-it")
            anna.chooses(good)
            judged(anna, "asked")
            anna.shot(f"asked-{scheme}-{viewport['width']}")
            anna.page.click("#drop-it")
            slowed(anna, 4 << 20)
            anna.installs(big)
            anna.sees("working", "Installing")
            anna.page.click("#log summary")
            judged(anna, "working")
            slowed(anna, 0)
            anna.sees("ended", "Installed")
            judged(anna, "ended")
            anna.page.click("#restart")
            judged(anna, "dialog")
            anna.page.click("#sure button.plain")
            anna.page.click("#another")
            small = anna.page.evaluate(
                """[...document.querySelectorAll('button, select, summary, .button, input[type=url]')]
                .filter((e) => e.offsetParent && (e.offsetHeight < 44 || e.offsetWidth < 44)).map((e) => e.outerHTML)"""
            )
            assert small == [], "targets have at least 44 px"
            assert anna.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                "it scrolls sideways"
            )
            anna.leaves()


def test_the_page_is_small_and_needs_nobody_else(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    folder = PROJECT / "swagent" / "web" / "page"
    assert sum(path.stat().st_size for path in folder.iterdir()) < PAGE_BYTES_MAX
    with served(tmp_path, key_ring) as there:
        anna = Visitor(browser, there)
        asked: list[str] = []
        anna.page.on("request", lambda request: asked.append(request.url))
        anna.page.reload()
        anna.sees("idle")
        assert asked and all(url.startswith(there.base) for url in asked)
        anna.leaves()


@pytest.mark.slow
def test_swupdates_own_application_goes_on_working(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    root = Path("/usr/share/swupdate/www")
    if not root.is_dir():
        pytest.skip("needs SWUpdate's web application: apt-get install swupdate-www")
    image = signed_image(tmp_path, key_ring)
    bad = signed_image(tmp_path, by_a_stranger(key_ring)).rename(tmp_path / "bad.swu")
    image = signed_image(tmp_path, key_ring)
    settings = f'allow-anonymous = true; run-postupdate = false; document_root = "{root}";'
    with served(tmp_path, key_ring, settings, "-p", f"touch {tmp_path}/hook") as there:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{there.base}/")
        page.wait_for_selector("#swu-idle", state="visible")
        page.set_input_files("input.dz-hidden-input", str(bad))
        page.wait_for_selector("#swu-failure", state="visible")
        page.set_input_files("input.dz-hidden-input", str(image))
        page.wait_for_selector("#swu-success", state="visible")
        assert there.target.exists()
        page.click("text=Messages")
        page.wait_for_selector("text=SWUPDATE successful !")
        page.click("#swu-restart")
        page.wait_for_selector("#swu-restart-modal", state="visible")
        until((tmp_path / "hook").exists, "the restart")
        context.close()
        assert faults == []


@pytest.mark.slow
def test_people_log_in_with_a_password(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    passwords = tmp_path / "passwd"
    passwords.write_text(f"anna:Update:{hashlib.md5(b'anna:Update:secret').hexdigest()}\n")
    settings = f'auth-domain = "Update"; global-auth-file = "{passwords}"; title = "Acme Gateway";'
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring, settings) as there:
        anna = Visitor(browser, there, http_credentials={"username": "anna", "password": "secret"})
        anna.reads("#title", "Acme Gateway")  # which came over the WebSocket
        anna.installs(image)
        anna.sees("ended", "Installed 1.0.1")
        anna.leaves()


@pytest.mark.slow
def test_people_log_in_with_a_token(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna:{hashlib.sha256(b'a-long-word').hexdigest()}\n")
    image = signed_image(tmp_path, key_ring)
    with served(tmp_path, key_ring, f'token-file = "{tokens}"; title = "Acme Gateway";') as there:
        page = browser.new_context().new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{there.base}/")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "login.png")
        for token, wanted in (("wrong", "#token"), ("a-long-word", "#idle:not([hidden])")):
            page.fill("#token", token)
            page.click("button")
            page.wait_for_selector(wanted, state="visible")
        page.set_input_files("#file", str(image))
        page.click("#install")
        page.wait_for_selector("#ended:not([hidden])")
        assert page.inner_text("#ended-title") == "Installed 1.0.1"
        page.context.close()


@pytest.mark.slow
def test_user_data_that_cannot_be_written_are_decided_on_in_the_page(
    browser: Any, tmp_path: Path, key_ring: KeyRing
) -> None:
    (tmp_path / "target").mkdir()  # where a file is to go
    image = big_image(tmp_path, key_ring, 100_000, 'properties = { user-data = "true"; };')
    with served(tmp_path, key_ring) as there:
        anna, bob = Visitor(browser, there), Visitor(browser, there, viewport=NARROW)
        anna.installs(image)
        for visitor in (anna, bob):
            visitor.reads("#question", "could not be written")
        bob.shot("working-question-phone")
        bob.page.click("text=Go on without it")
        for visitor in (anna, bob):
            visitor.sees("ended", "Installed 1.0.1")
            visitor.leaves()


@pytest.mark.parametrize("serial", ["SN1", "SN2"])
def test_the_page_tells_who_may_have_an_update_and_its_codes(
    browser: Any, tmp_path: Path, key_ring: KeyRing, serial: str
) -> None:
    image = signed_image(tmp_path, key_ring)
    make(tmp_path / "UniAuth.db", [a_list("msn", "SN1")])
    group = f'authorization : {{ database = "{tmp_path}/UniAuth.db"; msn = "text:{serial}"; }};\n'
    with served(tmp_path, key_ring, more=group) as there:
        anna = Visitor(browser, there)
        anna.chooses(image)
        if serial == "SN1":
            anna.page.click("#install")
            anna.sees("ended", "Installed 1.0.1")
        else:
            assert "SN2 is not in the allow list" in anna.text("#asked")
            assert not anna.page.is_visible("#install")
            must(["curl", "-s", "-F", f"file=@{image}", f"{there.base}/upload"])  # somebody insists
            anna.sees("ended", "Refused")
        anna.page.click("#log summary")
        for code in ("0x4003", "0x4005" if serial == "SN1" else "0x4004"):
            anna.reads("#lines", code)
        anna.shot(f"ended-authorization-{serial}")
        anna.leaves()


@pytest.mark.slow
def test_the_device_fetches_an_address(browser: Any, tmp_path: Path, key_ring: KeyRing) -> None:
    image = signed_image(tmp_path, key_ring)
    handler = partial(SimpleHTTPRequestHandler, directory=str(image.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with served(tmp_path, key_ring, ANYBODY, "-d", "") as there:
            anna = Visitor(browser, there)
            anna.page.fill("#url", f"http://127.0.0.1:{server.server_port}/update.swu")
            anna.page.click("#fetch button")
            anna.sees("ended", "Installed 1.0.1")
            assert there.target.exists()
            anna.leaves()
        server.shutdown()
