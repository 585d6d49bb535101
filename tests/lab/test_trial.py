"""Trial updates of a board that is a shell behind a stand-in for QEMU: what goes wrong, and what is told then."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swagent.errors import LabError, SettingsError, TrialFailed
from swagent.lab.client import LabClient
from swagent.lab.errors import Failed, NotAllowed, NotNow, NotThere
from swagent.lab.items import ItemType
from swagent.lab.junit import junit
from swagent.lab.plan import Plan, filled, parse_plan
from swagent.lab.talk import Talk, readable
from swagent.lab.trial import Report, Step, Trial
from tests.programs import PROJECT, run, run_swagent

from .labs import SERVER, Keys, eventually, serving, using
from .test_qemu import configuration

BOARD = r'''
"""A board on QEMU's two sockets: it boots, asks for a user, and has a shell with the programs of the folder ``bin``."""
import json, os, pty, socket, subprocess, sys, threading
how, *argv = sys.argv[1:]
fds = {w.split("id=")[1].split(",")[0]: int(w.rsplit("fd=")[1]) for w in argv if w.startswith("socket,")}
serial, qmp = (socket.socket(fileno=fds[n]) for n in ("swagent-serial", "swagent-qmp"))

def line():
    said = b""
    while not said.endswith(b"\n"):
        byte = serial.recv(1)
        if not byte:
            os._exit(0)
        serial.sendall(b"*" if asking else byte.replace(b"\n", b"\r\n"))
        said += byte
    return said.decode().strip()

def boots():
    global asking
    for boot in range(9):
        asking = False
        serial.sendall(b"\r\nbooting\r\n")
        if how == "mute":
            return
        if how == "enter":
            serial.sendall(b"Please press Enter to activate this console. ")
            line()
        if how == "hidden" and not boot:
            serial.sendall(b"board# [  1.0] eth0: link is up\r\n")
            line()
        while how == "login":
            serial.sendall(b"board login: ")
            user = line()
            serial.sendall(b"Password: ")
            asking = True
            secret = line()
            asking = False
            if (user, secret) == ("root", "secret"):
                break
            serial.sendall(b"\r\nLogin incorrect\r\n")
        env = {**os.environ, "PATH": os.path.join(os.getcwd(), "bin") + ":" + os.environ["PATH"], "BOOT": str(boot)}
        while True:
            serial.sendall(b"\x1b[1;32mboard# \x1b[0m" if how == "colours" else b"board# ")
            command = line()
            if how == "falls" and "install" in command:
                os._exit(3)
            shell = subprocess.Popen(["sh", "-c", command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for said in iter(lambda: os.read(shell.stdout.fileno(), 4096), b""):
                serial.sendall(said.replace(b"\n", b"\r\n"))
            if shell.wait() == -9:
                break

asking = False
threading.Thread(target=boots, daemon=True).start()
qmp.sendall(b'{"QMP": {}}\r\n')
for command in qmp.makefile("rb"):
    qmp.sendall(b'{"return": {}}\r\n')
    if b"quit" in command:
        break
'''
PROGRAMS = {
    "cat": 'case "$1" in /proc/*) echo "boot-$BOOT";; *) exec /bin/cat "$@";; esac',
    "reboot": "kill -9 $PPID",
    "install": 'test "$(head -c "$1" "a,b.img")" = "an image" && echo "Installed $2"',
    "confirm": 'test "$BOOT" = 0 && echo "2.0 is TESTING" || echo "2.0 is CONFIRMED"',
}
PLAN = Plan(
    "install {size} {name}",
    storage="storage",
    prompt=r"board# (\x1b\[0m)?$",
    confirm="confirm",
    boot_s=20,
    command_s=20,
    install_s=20,
)
QUICK = PLAN._replace(boot_s=1.0)


@contextmanager
def board(
    folder: Path,
    how: str = "well",
    *,
    server: str = "",
    **programs: str,
) -> Iterator[LabClient]:
    (folder / "stand_in.py").write_text(BOARD)
    (folder / "a,b.img").write_bytes(bytes(4096))
    (folder / "update.swu").write_bytes(b"an image")
    (folder / "bin").mkdir()
    for name, body in {**PROGRAMS, **programs}.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    keys = Keys(folder)
    (folder / "token").write_text(keys.token() + "\n")
    (folder / "other").write_text(keys.token(sub="other"))
    text = configuration([sys.executable, "stand_in.py", how]).replace(SERVER, SERVER + server)
    with serving(folder, text) as (served, _), using(served, keys.token()) as client:
        (folder / "address").write_text(f"http://127.0.0.1:{served.port}")
        eventually(lambda: next(client.device(0)).modes["on"][1])
        yield client


def tried(client: LabClient, folder: Path, plan: Plan = PLAN) -> Report:
    return Trial(client, "gateway", plan).run(str(folder / "update.swu"))


@pytest.mark.parametrize("how", ["well", "enter", "colours", "login", "hidden"])
def test_a_trial_passes(tmp_path: Path, how: str) -> None:
    plan = PLAN._replace(user="root", password="secret") if how == "login" else PLAN
    if how == "hidden":
        plan = plan._replace(boot_s=4.0)
    with board(tmp_path, how) as client:
        report = tried(client, tmp_path, plan)
        assert report.passed, (report.steps, report.console)
        assert [step.name for step in report.steps] == ["image", "boot", "install", "reboot", "confirm"]
        assert report.steps[2].output == "Installed update.swu"
        assert report.console.count(b"booting") == 2
        assert b"secret" not in report.console
        assert next(client.device(0)).mode == "off"
        assert "swagent.lease.owner" not in client.properties(ItemType.DEVICE, 0)
        report.raise_if_failed()


def test_a_power_cut_instead_of_a_reboot(tmp_path: Path) -> None:
    with board(tmp_path, confirm="echo is CONFIRMED", cat="date +%N") as client:
        assert tried(client, tmp_path, PLAN._replace(reboot="")).passed


WRONG: dict[str, tuple[dict[str, str], Plan, str, str]] = {
    "install": (
        {"install": "echo not signed; exit 20"},
        PLAN,
        "the command ended with status 20",
        "not signed",
    ),
    "reboot": ({"reboot": "exit 0", "sleep": "exit 0"}, PLAN, "the board has not rebooted", ""),
    "confirm": (
        {"confirm": "echo 2.0 is ROLLED_BACK"},
        PLAN,
        "says '2.0 is ROLLED_BACK'",
        "2.0 is ROLLED_BACK",
    ),
    "version": ({}, PLAN._replace(version="echo 1.0", expected="^2"), "the board says '1.0'", "1.0"),
}


@pytest.mark.parametrize("step", WRONG)
def test_a_trial_fails(tmp_path: Path, step: str) -> None:
    programs, plan, problem, output = WRONG[step]
    with board(tmp_path, **programs) as client:
        report = tried(client, tmp_path, plan)
        assert next(client.device(0)).mode == "off"
    failed = report.failed
    assert failed is not None and failed.name == step
    assert problem in failed.problem
    assert output in failed.output
    assert report.steps[-1] is failed
    with pytest.raises(TrialFailed, match=f"^{step}: "):
        report.raise_if_failed()


def test_a_board_that_takes_its_time_to_decide(tmp_path: Path) -> None:
    """Its own service runs the checks; whoever asks meanwhile hears that it is busy."""
    slow = 'if [ -e asked ]; then echo "2.0 is CONFIRMED"; else touch asked; echo "another update is running"; fi'
    with board(tmp_path, confirm=slow) as client:
        slept: list[float] = []
        report = Trial(client, "gateway", PLAN, sleep=slept.append).run(str(tmp_path / "update.swu"))
        assert report.passed and len(slept) == 1


def test_a_board_that_never_decides(tmp_path: Path) -> None:
    with board(tmp_path, confirm="echo busy") as client:
        failed = tried(client, tmp_path, PLAN._replace(confirm_s=1.0)).failed
    assert failed is not None and "the board says 'busy'" in failed.problem


def test_a_board_that_says_nothing(tmp_path: Path) -> None:
    with board(tmp_path, "mute") as client:
        failed = tried(client, tmp_path, QUICK).failed
    assert failed is not None and failed.name == "boot"
    assert "the prompt of the board did not come within" in failed.problem
    assert "booting" in failed.output


def test_a_user_who_cannot_log_in(tmp_path: Path) -> None:
    with board(tmp_path, "login") as client:
        failed = tried(client, tmp_path, PLAN._replace(user="root", password="wrong")).failed
    assert failed is not None and failed.problem == "root cannot log in"


def test_a_board_that_cannot_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict of the update is told all the same."""
    change, asked = LabClient.change_mode, list[str]()

    def refusing(client: LabClient, device: int, mode: str) -> None:
        asked.append(mode)
        if asked.count("off") == 2:
            raise Failed("the relay is stuck")
        change(client, device, mode)

    monkeypatch.setattr(LabClient, "change_mode", refusing)
    with board(tmp_path) as client:
        report = tried(client, tmp_path)
        assert [step.name for step in report.steps][-2:] == ["confirm", "off"]
        assert report.failed is not None and report.failed.problem == "the relay is stuck"
        assert not report.left and b"stuck" in junit(report)
        monkeypatch.undo()


def test_an_install_that_never_ends(tmp_path: Path) -> None:
    with board(tmp_path, install="sleep 60") as client:
        failed = tried(client, tmp_path, PLAN._replace(install_s=1.0)).failed
    assert failed is not None and failed.name == "install"
    assert "did not come within" in failed.problem


def test_a_board_that_falls(tmp_path: Path) -> None:
    with board(tmp_path, "falls") as client:
        report = tried(client, tmp_path, PLAN._replace(install_s=2.0))
    assert report.failed is not None and report.failed.name == "install"
    assert b"QEMU ended with status 3" in report.console


def test_somebody_elses_board_is_left_alone(tmp_path: Path) -> None:
    with board(tmp_path) as client:
        client.lease(0, seconds=60, reason="mine")
        client.change_mode(0, "off")
        with (
            LabClient((tmp_path / "address").read_text(), (tmp_path / "other").read_text()) as other,
            pytest.raises(NotNow, match="tester"),
        ):
            tried(other, tmp_path)
        assert next(client.device(0)).mode == "off"
        assert tried(client, tmp_path).passed, "its owner may"
        assert client.properties(ItemType.DEVICE, 0)["swagent.lease.owner"] == "tester", "and it stays theirs"


def test_what_the_board_lacks_is_told_before_anything(tmp_path: Path) -> None:
    with board(tmp_path) as client:
        for plan, what in (
            (PLAN._replace(console="aux"), "console 'aux'"),
            (PLAN._replace(storage="nand"), "volume 'nand'"),
            (PLAN._replace(on="run"), "mode 'run'"),
        ):
            with pytest.raises(NotThere, match=f"gateway has no {what}"):
                Trial(client, "gateway", plan)
        with pytest.raises(NotThere):
            Trial(client, "nobody", PLAN)
        with pytest.raises(SettingsError, match="cannot read"):
            Trial(client, "gateway", PLAN).run(str(tmp_path / "none.swu"))
        failed = tried(client, tmp_path, PLAN._replace(target="nand")).failed
        assert failed is not None and failed.name == "image"


ROLES = """  roles:
    - { verbs: [ list, watch, type ] }
"""


def test_who_may_not_power(tmp_path: Path) -> None:
    with board(tmp_path, server=ROLES) as client, pytest.raises(NotAllowed):
        tried(client, tmp_path)


def test_talk_survives_noise(tmp_path: Path) -> None:
    with board(tmp_path) as client, Talk(client, 0, r"board# $") as talk:
        client.change_mode(0, "off")
        client.change_mode(0, "on")
        talk.expect(r"board# $", 20)
        answer = talk.run(
            """printf 'a\\033[31mb\\033[0m "c"\\n'; head -c 600000 /dev/zero | tr '\\0' x; exit 7""", 20
        )
        assert answer.status == 7
        assert len(answer.output) > 200_000, "the end of it is kept"
        assert talk.run("echo 'it is'; false", 20) == (1, "it is")
        with pytest.raises(LabError, match=r"'never' did not come within 0\.1 s"):
            talk.expect("never", 0.1)


# -- plans


def test_a_plan() -> None:
    plan = parse_plan(
        b"install: swagent -i /dev/sda\nstorage: usb\nboot-timeout: 2m\nreboot: ''\noff: off\npassword: '0815'\n",
        "p",
    )
    assert plan == Plan(
        "swagent -i /dev/sda", storage="usb", boot_s=120.0, reboot="", off="off", password="0815"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "must be a mapping"),
        ("storage: usb", "install is missing"),
        ("install: ''", "install is empty"),
        ("install: a\nprompt: '['", "prompt is no regular expression"),
        ("install: a\nprompt: ''", "prompt is empty"),
        ("install: a\npromt: x", "'promt' is not known"),
        ("install: a\nboot-timeout: soon", "boot-timeout is 'soon'"),
        ("install: a\ntarget: x", "a target needs a storage"),
        ("install: a\nexpected: x", "expected needs version"),
        ('install: "a\\nb"', "must be a text of one line"),
        ("install: a\npassword: 0815", "must be a text of one line"),
        ("install: [a]", "must be a text of one line"),
        ("install: {", "is no YAML"),
    ],
)
def test_no_plan(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match="p") as told:
        parse_plan(text.encode(), "p")
    assert why in told.value.message


def test_places_are_filled_and_braces_stay() -> None:
    assert filled("head -c {size} ${x} {name} {y}", {"size": "3", "name": "a b"}) == "head -c 3 ${x} a b {y}"


# -- reports


@given(st.binary(max_size=300), st.text(max_size=30), st.text(max_size=30))
def test_a_report_is_xml_whatever_was_said(said: bytes, problem: str, name: str) -> None:
    steps = (Step("boot", 1.5, "", problem), Step("install", 2.0, "bad " + problem, name))
    root = ElementTree.fromstring(junit(Report(name, name, steps, ("reboot",), said)))
    assert [case.get("name") for case in root.iter("testcase")] == ["boot", "install", "reboot"]
    assert root.get("failures") == "1" and root.get("tests") == "3"
    assert len(list(root.iter("failure"))) == len(list(root.iter("skipped"))) == 1


def test_readable() -> None:
    assert readable(b"\x1b[1;32mroot\x1b[0m\r\n\x07x\xff\x1b]0;title\x07y\ra") == "root\nx\ufffdy\na"


# -- the fixture for integrators

TESTS = """
def test_good(lab_trial):
    report = lab_trial.run("update.swu")
    report.raise_if_failed()

def test_forged(lab_trial):
    failed = lab_trial.run("forged.swu").failed
    assert failed is not None and failed.name == "install"

def test_that_fails(lab_trial):
    lab_trial.run("forged.swu").raise_if_failed()
"""


def test_the_fixture(tmp_path: Path) -> None:
    plan = "install: install {size} {name}\nstorage: storage\nprompt: 'board# $'\nconfirm: confirm\n"
    (tmp_path / "plan.yaml").write_text(plan)
    (tmp_path / "forged.swu").write_bytes(b"of others")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["swagent.testing.trials"]\n')
    (tmp_path / "test_board.py").write_text(TESTS)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_board.py"]
    with board(tmp_path, install=PROGRAMS["install"] + ' || { echo "not signed"; exit 20; }'):
        address = (tmp_path / "address").read_text()
        options = ["--lab-device", "gateway", "--lab-plan", "plan.yaml", "--lab-token-file", "token"]
        env = {"PYTHONPATH": str(PROJECT)}
        done = run([*words, *options, "--lab-server", address], cwd=tmp_path, env=env)
        assert "1 failed, 2 passed" in done.text, done.text
        assert "TrialFailed: install: the command ended with status 20" in done.text
        assert "board, install" in done.text and "not signed" in done.text, "what it said is shown"
    none = run([*words, "-rs"], cwd=tmp_path, env=env)
    assert "3 skipped" in none.text and "--lab-device and --lab-plan say which" in none.text


# -- the command


def test_the_command(tmp_path: Path) -> None:
    plan = "install: install {size} {name}\nstorage: storage\nprompt: 'board# $'\nconfirm: confirm\n"
    (tmp_path / "plan.yaml").write_text(plan)
    words = ["lab", "test-update", "gateway", "update.swu", "--token-file", "token", "--server"]
    with board(tmp_path):
        words.append((tmp_path / "address").read_text())
        assert "needs --plan" in run_swagent(words, tmp_path).text
        done = run_swagent([*words, "-p", "plan.yaml", "--junit", "report.xml", "--log", "log"], tmp_path)
        assert done.ok, done.text
        assert done.text.splitlines()[-1] == "pass: gateway runs update.swu"
        assert ElementTree.parse(tmp_path / "report.xml").getroot().get("failures") == "0"
        assert (tmp_path / "log").read_bytes().count(b"booting") == 2
        (tmp_path / "bin/confirm").write_text("#!/bin/sh\necho 2.0 is ROLLED_BACK\n")
        done = run_swagent([*words, "-p", "plan.yaml", "--json"], tmp_path)
        assert done.code == 91
        assert (
            '"event": "trial.verdict", "device": "gateway", "image": "update.swu", "passed": false'
            in done.text
        )
        bad = run_swagent([*words, "-p", "plan.yaml", "--log", "no/where"], tmp_path)
        assert bad.code == 70 and "Traceback" not in bad.text
