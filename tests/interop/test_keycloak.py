"""A lab whose issuer is Keycloak: somebody logs in with a browser, and the tokens are believed, refreshed and revoked.

``tools/keycloak/build`` fetches it; KEYCLOAK may name the ``kc.sh`` of another one.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.lab.login import read_tokens
from tests.lab.labs import SERVER, serving
from tests.programs import PROJECT, run_swagent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START_S = 300.0
TOKEN_S = 35
"""How long a token lasts; it is refreshed half a minute before its end."""
REALM = {
    "realm": "lab",
    "enabled": True,
    "sslRequired": "none",
    "accessTokenLifespan": TOKEN_S,
    "clients": [
        {
            "clientId": "swagent",
            "enabled": True,
            "publicClient": True,
            "standardFlowEnabled": False,
            "attributes": {"oauth2.device.authorization.grant.enabled": "true"},
            "protocolMappers": [
                {
                    "name": "audience",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-audience-mapper",
                    "config": {"included.custom.audience": "lab", "access.token.claim": "true"},
                }
            ],
        }
    ],
    "users": [
        {
            "username": "alice",
            "enabled": True,
            "firstName": "Alice",
            "lastName": "Example",
            "email": "alice@example.org",
            "emailVerified": True,
            "credentials": [{"type": "password", "value": "alice's secret"}],
        }
    ],
}


def program() -> Path:
    found = os.environ.get("KEYCLOAK") or next(
        iter(sorted((PROJECT / "tools/keycloak/target").glob("keycloak-*/bin/kc.sh"))), None
    )
    if found is None or shutil.which("java") is None:
        pytest.skip("needs Java and Keycloak: tools/keycloak/build")
    return Path(found)


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the realm of a Keycloak."""
    folder = tmp_path_factory.mktemp("keycloak")
    home = folder / "keycloak"
    shutil.copytree(program().parents[1], home, symlinks=True)
    (home / "data/import").mkdir(parents=True)
    (home / "data/import/lab-realm.json").write_text(json.dumps(REALM))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        "start-dev",
        "--import-realm",
        f"--http-port={port}",
        "--http-host=127.0.0.1",
        "--http-management-port=0",
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [home / "bin/kc.sh", *words],
            cwd=folder,
            env={**os.environ, "JAVA_OPTS_APPEND": "-Xmx512m"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            uri = f"http://127.0.0.1:{port}/realms/lab"
            _wait(f"{uri}/.well-known/openid-configuration", server, folder / "log")
            yield uri
        finally:
            server.terminate()
            server.wait(60)


def _wait(uri: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(uri, timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


def allow(address: str) -> None:
    """What a person does: open it, log in, allow it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page: Any = browser.new_page()
        page.goto(address)
        page.fill("#username", "alice")
        page.fill("#password", "alice's secret")
        page.click("#kc-login")
        page.click("#kc-login[name=accept]")
        page.wait_for_selector("text=Device Login Successful")
        browser.close()


def test_a_login_with_a_browser(realm: str, tmp_path: Path) -> None:
    method = (
        f"    - {{ type: oidc, description: Staff, uri: '{realm}', client: swagent, audience: [ lab ] }}\n"
    )
    text = re.sub(r"  authentication:\n(    .*\n)*", "  authentication:\n" + method, SERVER)
    listed = ["-c", "servers.yaml"]
    with serving(tmp_path, f"{text}\nproviders: []\ndevices: []\n") as (server, _):
        uri = f"http://127.0.0.1:{server.port}"
        words = [sys.executable, "-m", "swagent", "lab", "auth", "init", "-i", "here", "-u", uri, *listed]
        env = {**os.environ, "PYTHONPATH": str(PROJECT)}
        with subprocess.Popen(words, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as login:
            assert login.stderr is not None
            first = login.stderr.readline()
            assert re.search(
                r"Open http://127\.0\.0\.1:\d+/\S+ in a browser, and enter the code [A-Z]{4}-[A-Z]{4}", first
            )
            address = login.stderr.readline().strip().removeprefix("or go directly to ")
            allow(address)
            assert login.wait(60) == 0, login.stderr.read()
        done = run_swagent(["lab", "list", "devices", *listed], tmp_path)
        assert done.ok, done.text
        cache = str(tmp_path / "here.token")
        before = read_tokens(cache)
        assert before is not None and before.refresh
        time.sleep(TOKEN_S - 28)
        assert run_swagent(["lab", "list", "devices", *listed], tmp_path).ok
        after = read_tokens(cache)
        assert after is not None and after.access != before.access, "it was refreshed"
        body = f"client_id=swagent&token={after.refresh}".encode()
        with urllib.request.urlopen(f"{realm}/protocol/openid-connect/revoke", body, timeout=30) as answer:
            assert answer.status == 200
        time.sleep(TOKEN_S - 28)
        refused = run_swagent(["lab", "list", "devices", *listed], tmp_path)
        assert refused.code == 90 and "has ended" in refused.text
