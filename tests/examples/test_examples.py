"""Each scenario of sw-description.examples is built, installed by us and by SWUpdate, and the targets are compared."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from swagent.crypto.cipher import read_key_file
from swagent.swu.make import Made, make
from swagent.swu.sign import SigningSpec
from tests.programs import run_swagent, run_swupdate

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "sw-description.examples"
SCENARIOS = sorted(path.parent.name for path in EXAMPLES.glob("*/example.json"))
CASES = [
    (scenario, index)
    for scenario in SCENARIOS
    for index in range(len(json.loads((EXAMPLES / scenario / "example.json").read_text())["installs"]))
]
FILLER = b"\xa5"
ENV_BYTES = 0x2000


def load_artifacts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_artifacts", EXAMPLES / "artifacts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ARTIFACTS = load_artifacts()


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and cert.pem."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("signer")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=Examples",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


class Bench:
    """One scenario, its inputs, and a folder that stands for the device."""

    def __init__(self, scenario: str, folder: Path, signer: Path) -> None:
        self.facts: dict[str, Any] = json.loads((EXAMPLES / scenario / "example.json").read_text())
        self.sources = folder / "artifacts"
        self.device = folder / "device"
        self.signer = signer
        self.update = folder / "update.swu"
        self.description = next(iter((EXAMPLES / scenario).glob("sw-description*")))
        ARTIFACTS.write(EXAMPLES / scenario, self.sources)
        self.key_file = self.sources / "aes.key"
        self.certificate = Path(shutil.copy(signer / "cert.pem", folder))

    def make(self) -> Made:
        return make(
            str(self.description),
            output=str(self.update),
            search=[str(self.sources)],
            variables={"ROOT": str(self.device), "VERSION": "2.4.0"},
            signing=SigningSpec(str(self.signer / "key.pem"), certificate_file=str(self.certificate)),
            encryption=read_key_file(str(self.key_file)) if self.key_file.exists() else None,
        )

    def fresh_device(self) -> None:
        shutil.rmtree(self.device, ignore_errors=True)
        self.device.mkdir()
        for target in self.facts["targets"]:
            (self.device / target["path"]).write_bytes(FILLER * target["size"])

    def arguments(self, install: dict[str, Any]) -> list[str]:
        words = ["-i", str(self.update), "-k", str(self.certificate), "-H", install["hardware"]]
        if "selection" in install:
            words += ["-e", install["selection"]]
        if self.key_file.exists():
            words += ["-K", str(self.key_file)]
        return words

    def artifact(self, name: str) -> bytes:
        return (self.sources / name).read_bytes()

    def check_device(self, install: dict[str, Any]) -> None:
        expected = {target["path"]: bytearray(FILLER * target["size"]) for target in self.facts["targets"]}
        for held in install["holds"]:
            data = self.artifact(held["artifact"])
            start = held.get("offset", 0)
            expected.setdefault(held["path"], bytearray())[start : start + len(data)] = data
        for path, content in expected.items():
            found = (self.device / path).read_bytes()
            assert hashlib.sha256(found).digest() == hashlib.sha256(content).digest(), path
        for path in install.get("untouched", []):
            assert set((self.device / path).read_bytes()) == set(FILLER), path
        for path, text in install.get("texts", {}).items():
            assert (self.device / path).read_text() == text, path


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_builds_are_the_same(scenario: str, tmp_path: Path, signer: Path) -> None:
    bench = Bench(scenario, tmp_path, signer)
    made = bench.make()
    first = bench.update.read_bytes()
    assert made.warnings == ()
    assert len(first) == made.size_bytes
    assert {member.name for member in made.members} == {fact["name"] for fact in bench.facts["artifacts"]}
    bench.make()
    assert bench.update.read_bytes() == first


@pytest.mark.parametrize(("scenario", "index"), CASES)
def test_swagent_installs_it(scenario: str, index: int, tmp_path: Path, signer: Path) -> None:
    bench = Bench(scenario, tmp_path, signer)
    bench.make()
    bench.fresh_device()
    install = bench.facts["installs"][index]
    words = bench.arguments(install)
    config = tmp_path / "fw_env.config"
    if "bootenv" in install:
        make_environment(tmp_path / "environment.bin", config)
        words += ["-B", "uboot", "--fwenv-config", str(config)]
    done = run_swagent(words, tmp_path)
    assert done.ok, done.text
    bench.check_device(install)
    if "bootenv" in install:
        assert install["bootenv"].items() <= read_environment(config).items()


@pytest.mark.parametrize(("scenario", "index"), CASES)
def test_swupdate_installs_it(scenario: str, index: int, tmp_path: Path, signer: Path) -> None:
    bench = Bench(scenario, tmp_path, signer)
    bench.make()
    install = bench.facts["installs"][index]
    done = run_swupdate(bench.arguments(install), tmp_path, fresh=bench.fresh_device)
    assert done.ok, done.text
    bench.check_device(install)


def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    """With another folder for /tmp, and this checkout's swagent."""
    text = (EXAMPLES / "README.md").read_text().replace("\\\n", " ")
    commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    assert len(commands) == 7
    runtime = tmp_path / "run"
    runtime.mkdir()
    script = "\n".join(commands).replace("/tmp/", f"{tmp_path}/")
    script = f'python() {{ "{sys.executable}" "$@"; }}; swagent() {{ python -m swagent "$@"; }}\n{script}'
    done = subprocess.run(
        ["sh", "-ec", script], cwd=PROJECT, env={**os.environ, "RUNTIME_DIRECTORY": str(runtime)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    held = (tmp_path / "artifacts" / "splash.bmp").read_bytes()
    assert (tmp_path / "device" / "disk.img").read_bytes()[786432 : 786432 + len(held)] == held


def make_environment(image: Path, config: Path) -> None:
    if shutil.which("mkenvimage") is None:
        pytest.skip("needs mkenvimage: apt-get install u-boot-tools")
    text = image.with_suffix(".txt")
    text.write_text("slot=none\nbootcount=3\n")
    subprocess.run(["mkenvimage", "-s", str(ENV_BYTES), "-o", image, text], check=True)
    config.write_text(f"{image} 0x0 {ENV_BYTES:#x}\n")


def read_environment(config: Path) -> dict[str, str]:
    if shutil.which("fw_printenv") is None:
        pytest.skip("needs fw_printenv: apt-get install libubootenv-tool")
    printed = subprocess.run(["fw_printenv", "-c", config], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in printed.splitlines())
