"""The fleet page: in Debian's Chromium, judged by axe-core, and by hand where a browser would be too kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from swagent.uptane.reports import InstalledImage
from swagent.uptane_server.inventory import Inventory
from tests.programs import PROJECT, need

from .fleet import PRIMARY, TCU, VIN, signer
from .test_api import PASSWORD, Office

WAIT_MS = 60_000
SCREENSHOTS = PROJECT / "build" / "screenshots"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        started = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def office(sqlite: Inventory, quick_path: Path) -> Iterator[Office]:
    found = Office(sqlite, quick_path)
    yield found
    found.service.close()


@contextmanager
def visit(browser: Any, office: Office, **wishes: Any) -> Iterator[Any]:
    """Anna, logged in; no line on her console is an error, and nothing is fetched from elsewhere."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **wishes})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if is_fault(line) else None)
    page.on("request", lambda each: faults.append(each.url) if not each.url.startswith(office.url) else None)
    page.goto(office.url)
    assert page.url.endswith("/login")
    page.fill("#name", "anna")
    page.fill("#password", PASSWORD)
    page.click("button.main")
    page.wait_for_selector("h1:has-text('Fleet')")
    yield page
    context.close()
    assert faults == []


def is_fault(line: Any) -> bool:
    """An error on the console, but for the pages with a bad status that are asked for."""
    return line.type == "error" and "the server responded with a status of 40" not in line.text


def is_accessible(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_an_update_from_the_order_to_its_arrival(browser: Any, office: Office) -> None:
    fleet = office.fleet
    fleet.director.submit(VIN, fleet.car.manifest())
    image = fleet.image("tcu-2.img", hardware_ids=frozenset({"tcu"}), release_counter=2)
    with visit(browser, office) as page:
        page.click(f"a:has-text('{VIN}')")
        page.wait_for_selector(f"h1:has-text('{VIN}')")
        page.select_option("#serial", TCU)
        page.select_option("#image", str(image.number))
        page.click("button:has-text('Preview')")
        page.wait_for_selector("h2:has-text('What would be signed')")
        assert "tcu-2.img" in page.inner_text("pre")
        assert fleet.orders() == {}, "a preview signs nothing"
        page.click("button:has-text('Sign it')")
        page.wait_for_selector(".said:has-text('Signed.')")
        assert fleet.orders() == {TCU: "tcu-2.img"}
        page.wait_for_selector("#ecus :text('under way')")

        fleet.car.runs[TCU] = InstalledImage("tcu-2.img", image.target.length_bytes, image.target.hashes)
        fleet.director.submit(VIN, fleet.car.manifest())
        page.wait_for_selector("#ecus :text('installed')")
        assert "1 of 1 updates are installed" in page.inner_text("#news")
        page.click("header a")
        page.wait_for_selector("td:has-text('1 of 1 installed')")


@pytest.mark.slow
def test_what_would_be_held_back(browser: Any, office: Office) -> None:
    from swagent.uptane_server.inventory_records import Wish

    office.fleet.image("tcu-3.img", requires=(Wish(hardware_id="bcu"),))
    with visit(browser, office) as page:
        page.goto(f"{office.url}/vehicles/{VIN}")
        page.select_option("#serial", TCU)
        page.click("button:has-text('Preview')")
        page.wait_for_selector("text=requires an ECU with hardware bcu")


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1100), pytest.param("dark", 360, marks=pytest.mark.slow)]
)
def test_every_page_is_accessible(browser: Any, office: Office, scheme: str, width: int) -> None:
    fleet = office.fleet
    thief = fleet.car.report(TCU, by=signer("tuf1", "thief"), attacks=EVIL)
    fleet.order()
    fleet.director.submit(
        VIN, fleet.car.manifest({PRIMARY: (fleet.car.report(PRIMARY, attacks=EVIL),), TCU: (thief,)})
    )
    fleet.clock.passes(7200)
    with visit(browser, office, color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        pages = {"fleet": "/", "vehicle": f"/vehicles/{VIN}", "none": "/vehicles/nobody", "login": "/login"}
        for name, path in pages.items():
            answer = page.goto(office.url + path)
            assert answer.status == (404 if name == "none" else 200)
            page.screenshot(path=SCREENSHOTS / f"director-{name}-{scheme}-{width}.png", full_page=True)
            is_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
            if name == "fleet":
                assert "silent" in page.inner_text("main")
                assert "There are vehicles with alerts." in page.inner_text(".warnings")
            if name == "vehicle":
                assert EVIL in page.inner_text(".warnings"), "shown as it is, and not obeyed"
                assert "not trusted" in page.inner_text("#ecus")


@pytest.mark.slow
def test_alerts_are_closed_and_an_ecu_is_trusted_again(browser: Any, office: Office) -> None:
    fleet = office.fleet
    thief = fleet.car.report(TCU, by=signer("tuf1", "thief"))
    fleet.director.submit(VIN, fleet.car.manifest({PRIMARY: (fleet.car.report(PRIMARY),), TCU: (thief,)}))
    with visit(browser, office) as page:
        page.goto(f"{office.url}/vehicles/{VIN}")
        page.click("button:has-text('Seen')")
        page.wait_for_selector(".said:has-text('The alerts are closed.')")
        page.click(f"button:has-text('Trust {TCU} again')")
        page.wait_for_selector(".said:has-text('Its next good report will be taken.')")
        page.click("button:has-text('Log out')")
        page.wait_for_selector("h1:has-text('Log in')")
        page.goto(office.url)
        assert page.url.endswith("/login")
    with fleet.director.inventory.look() as look:
        assert look.vehicle(VIN).alerts == 0
        assert look.ecu(TCU).distrust == ""


@pytest.mark.slow
def test_a_fleet_of_many(browser: Any, office: Office) -> None:
    for number in range(120):
        office.fleet.director.add_vehicle(f"WVW{number:04}")
    with visit(browser, office) as page:
        assert page.locator("tbody tr").count() == 50
        page.click("text=More vehicles")
        page.wait_for_selector("a:has-text('WVW0060')")
        page.fill("#prefix", "WVW011")
        page.click("button:has-text('Find')")
        page.wait_for_function("document.querySelectorAll('tbody tr').length == 10")
        page.select_option("#show", "alerts")
        page.click("button:has-text('Find')")
        page.wait_for_selector("text=No vehicle is like that.")
        page.fill("#vin", "new one")
        page.click("button:has-text('Add')")
        page.wait_for_selector("h1:has-text('new one')")
        page.goto(office.url)
        page.fill("#vin", "../etc")
        page.click("button:has-text('Add')")
        page.wait_for_selector(".wrong")


class TestForgery:
    """What no honest browser sends."""

    def ask(self, office: Office, path: str, cookie: str = "", **form: str) -> Any:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        headers |= {"Cookie": cookie} if cookie else {}
        body = urlencode(form).encode()
        return urllib3.request(
            "POST", office.url + path, body=body, headers=headers, retries=False, redirect=False
        )

    def test_forms_of_other_sites(self, office: Office) -> None:
        session = office.access.log_in("anna", PASSWORD)
        assert session is not None
        stored = office.fleet.stored()
        cookie = f"swagent_director={session.key}"
        for path in (
            "/vehicles",
            *(f"/vehicles/{VIN}/{word}" for word in ("preview", "assign", "seen", "forgive")),
        ):
            for form_key in ("", "0" * 64, session.key):
                answer = self.ask(office, path, cookie, form_key=form_key, vin="x", serial=TCU, image="0")
                assert answer.status == 403, path
        assert office.fleet.stored() == stored

    def test_nobody_is_let_in_without_a_session(self, office: Office) -> None:
        stored = office.fleet.stored()
        for cookie in ("", "swagent_director=", "swagent_director=wrong", f"swagent_director={'x' * 3000}"):
            for path in ("/vehicles", f"/vehicles/{VIN}/assign"):
                answer = self.ask(office, path, cookie, form_key="x", vin="x", serial=TCU, image="0")
                assert (answer.status, answer.headers["Location"]) == (303, "/login")
            for path in ("/", f"/vehicles/{VIN}", f"/vehicles/{VIN}/ecus"):
                answer = urllib3.request(
                    "GET", office.url + path, headers={"Cookie": cookie}, retries=False, redirect=False
                )
                assert (answer.status, answer.headers["Location"]) == (303, "/login")
                assert VIN.encode() not in answer.data
        assert office.fleet.stored() == stored

    def test_a_login_that_another_site_sends(self, office: Office) -> None:
        answer = self.ask(office, "/login", form_key="x", name="anna", password=PASSWORD)
        assert answer.status == 403
        assert "swagent_director=" not in answer.headers.get("Set-Cookie", "")

    def test_headers(self, office: Office) -> None:
        answer = urllib3.request("GET", f"{office.url}/login")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie

    def test_what_a_page_says_is_not_in_the_address(self, office: Office) -> None:
        session = office.access.log_in("anna", PASSWORD)
        assert session is not None
        headers = {"Cookie": f"swagent_director={session.key}"}
        for said in (EVIL, "Call 0900 1234"):
            answer = urllib3.request(
                "GET", f"{office.url}/?{urlencode({'said': said, 'prefix': EVIL})}", headers=headers
            )
            assert answer.status == 200
            assert b"0900" not in answer.data and EVIL.encode() not in answer.data
