"""Boardswarm's own client drives our server: today's, and the one of 2023 over its wire.

Both are built by ``tools/boardswarm-cli/build``.
"""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swagent.clock import SystemClock
from swagent.lab.items import ItemType
from swagent.lab.login import Login, Tokens, read_tokens, write_tokens
from swagent.lab.servers import KnownServer, Where, reach, read_servers, write_servers
from tests.lab.labs import PATIENCE_S, SERVER, Board, Keys, Served, eventually, serving, using
from tests.lab.test_oidc import Issuer
from tests.lab.test_service import DISK_BYTES, configuration
from tests.programs import PROJECT

pytestmark = pytest.mark.slow

HEAD, YEAR_2023 = "head", "2023"


class Theirs:
    """Their client, and a lab of ours with one board.

    Attributes:
        board: what is at the end of the console.
        folder: of the lab.
    """

    def __init__(self, program: Path, year: str, folder: Path) -> None:
        self.folder = folder
        self.board = Board()
        self.keys = Keys(folder)
        (folder / "token").write_text(self.keys.token())  # the old one would keep a line's end
        (folder / "disk.img").write_bytes(bytes(DISK_BYTES))
        (folder / "rom.img").write_bytes(b"rom" * 1000)
        (folder / "lab.yaml").write_text(configuration(folder, self.board))
        self._program = program
        self.server = Served(folder, *(["--legacy-volume-io"] if year == YEAR_2023 else []))
        self.server.start()
        with using(self.server, self.keys.token()) as client:
            eventually(lambda: next(client.device(0)).consoles["main"] is not None)

    def argv(self, *words: str) -> list[str]:
        return [str(self._program), "-c", str(self.folder / "config.yaml"), "-i", "ours", *words]

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def at_terminal(self, talk: Callable[["Terminal"], None], *words: str) -> None:
        terminal = Terminal(self.argv(*words), self.folder)
        try:
            talk(terminal)
        finally:
            terminal.close()

    def close(self) -> None:
        self.server.stop()
        self.board.unplug()


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execv(argv[0], argv)
        self._said = b""

    def until(self, piece: bytes, again: Callable[[], None] = lambda: None) -> None:
        """Wait for something on it; ``again`` is called now and then meanwhile."""
        until_s = time.monotonic() + PATIENCE_S
        while piece not in self._said:
            assert time.monotonic() < until_s, self._said
            again()
            if select.select([self._fd], [], [], 0.2)[0]:
                self._said += os.read(self._fd, 65536)

    def type(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        os.kill(self._pid, 15)
        os.waitpid(self._pid, 0)
        os.close(self._fd)


def program(year: str) -> Path:
    found = Path(
        os.environ.get(
            f"BOARDSWARM_CLI_{year.upper()}",
            PROJECT / f"tools/boardswarm-cli/target/{year}/bin/boardswarm-cli",
        )
    )
    if not found.exists():
        pytest.skip(f"needs Boardswarm's own client ({year}): tools/boardswarm-cli/build")
    return found


@pytest.fixture
def today(tmp_path: Path) -> Iterator[Theirs]:
    theirs = Theirs(program(HEAD), HEAD, tmp_path)
    theirs("auth", "init", "-u", theirs.server.address, "--token-file", "token")
    yield theirs
    theirs.close()


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Theirs]:
    theirs = Theirs(program(YEAR_2023), YEAR_2023, tmp_path)
    theirs("configure", "--new", "-u", theirs.server.address, "--token-file", "token")
    yield theirs
    theirs.close()


def test_lists_and_properties(today: Theirs) -> None:
    assert re.search(r"^0 +board$", today("list", "devices"), re.M)
    assert "relay" in today("list", "actuators")
    assert "boardswarm.provider" in today("list", "volumes", "-v")
    assert "serial" in today("console", "tty", "properties")
    assert "storage" in today("device", "board", "info")
    today("login-info")
    assert "emmc" in today("volume", "disk", "info")


def test_modes_and_actuators(today: Theirs) -> None:
    today("device", "board", "mode", "off")
    today("device", "board", "mode", "on")
    today("device", "board", "reset")
    today("actuator", "relay", "change-mode", '{"mode": "off"}')
    assert (today.folder / "power").read_text().split() == ["off", "on", "off", "on", "off"]
    said = today("device", "board", "mode", "broken", code=1)
    assert "no current" in said or "broken" in said


def test_storage(today: Theirs) -> None:
    data = os.urandom(7_000_003)
    (today.folder / "image").write_bytes(data)
    today("device", "board", "write", "-w", "storage", "emmc", "image")
    assert (today.folder / "disk.img").read_bytes()[: len(data)] == data
    today("volume", "disk", "write", "-o", "7340032", "emmc", "token")
    assert (today.folder / "disk.img").read_bytes()[7340032:].startswith(b"eyJ")
    today("device", "board", "read", "-l", "100000", "storage", "emmc", "back")
    assert (today.folder / "back").read_bytes() == data[:100_000]
    today("device", "board", "commit", "storage")
    today("volume", "disk", "write", "rom", "token", code=1)
    today("volume", "disk", "write", "nand", "token", code=1)
    today("volume", "disk", "erase", "emmc", code=1)


def test_a_console(today: Theirs) -> None:
    def talk(terminal: Terminal) -> None:
        terminal.until(
            b"login: ", again=lambda: today.board.say(b"login: ")
        )  # it does not say when it listens
        terminal.type(b"root\r")
        assert today.board.typed(5) == b"root\r"

    today.at_terminal(talk, "device", "board", "connect")
    today("console", "tty", "configure", '{"rate": 9600}')


def test_monitor(today: Theirs) -> None:
    def talk(terminal: Terminal) -> None:
        terminal.until(b"tty")
        today.board.unplug()
        terminal.until(b"Removed: 0")

    today.at_terminal(talk, "monitor", "consoles")


def test_who_has_no_token(today: Theirs) -> None:
    (today.folder / "bad").write_text("x" * 40 + "\n")
    today("auth", "modify", "--token-file", "bad")
    assert "authentication" in today("list", "devices", code=1)


def test_the_client_of_2023(old: Theirs) -> None:
    assert re.search(r"^0 +board$", old("list", "devices"), re.M)
    assert "boardswarm.name" in old("properties", "volumes", "0")
    old("device", "board", "mode", "off")
    old("device", "board", "mode", "on")
    old("actuator", "0", "change-mode", '{"mode": "off"}')
    assert (old.folder / "power").read_text().split() == ["off", "on", "off"]
    data = os.urandom(5_000_001)
    (old.folder / "image").write_bytes(data)
    old("volume", "0", "write", "emmc", "image")
    assert (old.folder / "disk.img").read_bytes()[: len(data)] == data

    def talk(terminal: Terminal) -> None:
        terminal.until(b"tty")
        old.board.unplug()
        terminal.until(b"Removed: 0")

    old.at_terminal(talk, "monitor", "consoles")


def test_logins_are_shared(tmp_path: Path) -> None:
    """Their client logs in and refreshes with our list of servers, and ours with theirs."""
    cli = program(HEAD)
    issuer = Issuer(tmp_path)
    issuer.tell(
        "/realm/.well-known/openid-configuration",
        authorization_endpoint=f"{issuer.base}/auth",
        device_authorization_endpoint=f"{issuer.base}/device",
        token_endpoint=f"{issuer.base}/token",
    )
    given = {
        "access_token": issuer.token(),
        "token_type": "bearer",
        "refresh_token": "fresh",
        "expires_in": 600,
    }
    code = {
        "device_code": "d",
        "user_code": "ABCD",
        "verification_uri": "http://x/",
        "expires_in": 60,
        "interval": 1,
    }
    method = f"    - {{ type: oidc, description: Staff, uri: '{issuer.uri}', client: lab }}\n"
    text = re.sub(r"  authentication:\n(    .*\n)*", "  authentication:\n" + method, SERVER)

    def theirs(config: str, *words: str) -> str:
        argv = [str(cli), "-c", str(tmp_path / config), "-i", "my.lab", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    devices = "providers: []\ndevices:\n  - { name: board, consoles: [], modes: [] }\n"
    with serving(tmp_path, f"{text}\n{devices}") as (server, _):
        uri, cache = f"http://127.0.0.1:{server.port}", str(tmp_path / "my_lab.token")
        login = Login(issuer.uri, "lab", cache)
        write_servers(str(tmp_path / "ours.yaml"), [KnownServer("my.lab", uri, login=login)])
        write_tokens(cache, Tokens(issuer.token(), "old", SystemClock().now_s() + 600))
        assert "0 board" in theirs("ours.yaml", "list", "devices")
        write_tokens(cache, Tokens("ended", "old", 1.0))
        issuer.answers = {"/token": [(200, given)]}
        assert "0 board" in theirs("ours.yaml", "list", "devices")
        assert issuer.posted[-1]["refresh_token"] == "old"
        refreshed = read_tokens(cache)
        assert refreshed is not None and (refreshed.access, refreshed.refresh) == (
            given["access_token"],
            "fresh",
        )
        os.unlink(cache)
        issuer.answers = {"/device": [(200, code)], "/token": [(200, given)]}
        assert "enter the code ABCD" in theirs("theirs.yaml", "auth", "init", "-u", uri)
        (tmp_path / "theirs.yaml").chmod(0o600)
        (known,) = read_servers(str(tmp_path / "theirs.yaml"))
        assert known.login == login
        with reach(Where(str(tmp_path / "theirs.yaml"))) as client:
            assert [item.name for item in client.items(ItemType.DEVICE)] == ["board"]
    issuer.close()
