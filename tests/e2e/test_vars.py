"""``vars`` of an image: stored in a namespace of fw_env.config, before the boot environment, all or none."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from swagent.bootloader import ubootenv
from tests.faults.device import ENV_BYTES, Device, Outcome
from tests.faults.images import Member, archive, described, entry, noise, signed
from tests.programs import need, run

SET = {"colour": "blue", "old": ""}


class Unit(Device):
    """The device of the fault tests, with a second environment for an application."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        copies = [ubootenv.build_copy({"old": "1", "kept": "2"}, ENV_BYTES, flags=flag) for flag in (1, 0)]
        (self.root / "app.bin").write_bytes(b"".join(copies))
        self.lines = self.root / "app.config"
        self.lines.write_text(
            "".join(f"{self.root}/app.bin {at:#x} {ENV_BYTES:#x}\n" for at in (0, ENV_BYTES))
        )
        self.describe("[]")

    def describe(self, writelist: str) -> None:
        """Both environments in YAML."""
        text = ""
        for name, file in (("uboot", "env.bin"), ("app", "app.bin")):
            devices = ", ".join(f"{{path: {self.root}/{file}, offset: {at}}}" for at in (0, ENV_BYTES))
            text += f"{name}:\n  size: {ENV_BYTES}\n  lockfile: {self.run}/{name}.lock\n"
            text += f"  devices: [{devices}]\n" + (f"  writelist: {writelist}\n" if name == "app" else "")
        (self.root / "fw_env.config").write_text(text)

    def app(self) -> dict[str, str]:
        """What libubootenv's own tool reads of the application's environment."""
        done = run(["fw_printenv", "-c", self.lines])
        assert done.ok, done.text
        return dict(line.split("=", 1) for line in done.text.splitlines())

    def try_(
        self,
        variables: Mapping[str, str] = SET,
        *,
        namespace: str = "app",
        slot: str = "b",
        more: tuple[str, ...] = (),
    ) -> Outcome:
        member = Member("rootfs.img", noise(3000))
        sections = {
            "images": [entry(member, device=f"{self.root}/slot-b.img", installed_directly=True)],
            "bootenv": [f'{{ name = "slot"; value = "{slot}"; }}'],
            "vars": [f'{{ name = "{name}"; value = "{value}"; }}' for name, value in variables.items()],
        }
        text = described(sections)
        if namespace:
            text = text.replace(b"version", f'namespace-for-vars = "{namespace}";\n  version'.encode(), 1)
        return self.install(archive(signed(text, member)), pipe=False, more=more)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    need("fw_printenv")
    return Unit(tmp_path / "unit")


def test_they_are_stored(unit: Unit) -> None:
    assert unit.try_().code == 0
    assert unit.app() == {"colour": "blue", "kept": "2"}
    assert unit.env() == {"slot": "b", "bootcount": "0", "ustate": "1"}


def test_the_settings_name_the_namespace_when_the_image_does_not(unit: Unit) -> None:
    before = unit.snapshot()
    refused = unit.try_(namespace="")
    assert refused.code == 34
    assert "namespace-for-vars" in refused.stderr
    assert unit.snapshot() == before
    (unit.folder / "swupdate.cfg").write_text('globals : { namespace-vars = "app"; };\n')
    assert unit.try_(namespace="").code == 0
    assert unit.app()["colour"] == "blue"


@pytest.mark.parametrize(
    ("variables", "namespace", "code", "said"),
    [
        (SET, "nobody", 70, "no namespace 'nobody'"),
        ({"colour": "blue", "kept": "3"}, "app", 45, "'kept' is not in the writelist"),
        ({"count": "many"}, "app", 45, "must be a decimal number"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    unit: Unit, variables: dict[str, str], namespace: str, code: int, said: str
) -> None:
    unit.describe("['colour:sw', 'count:dw']")
    before = unit.snapshot()
    refused = unit.try_(variables, namespace=namespace)
    assert (refused.code, unit.snapshot()) == (code, before)
    assert said in " ".join(refused.stderr.split())


def test_a_floor_that_could_not_be_kept_is_noticed_beforehand(unit: Unit) -> None:
    text = (unit.root / "fw_env.config").read_text()
    listed = text.replace("uboot:\n", "uboot:\n  writelist: ['slot:sw', 'ustate:sw', 'recovery_status:sw']\n")
    (unit.root / "fw_env.config").write_text(listed)
    before = unit.snapshot()
    refused = unit.try_(more=("--version-floor",))
    assert (refused.code, unit.snapshot()) == (45, before)
    assert "'swagent_floor' is not in the writelist" in " ".join(refused.stderr.split())
    assert unit.try_().code == 0


def test_a_boot_variable_that_uboot_would_not_accept_is_refused_beforehand_too(unit: Unit) -> None:
    stored = {".flags": "slot:dr", "slot": "1"}
    copies = [ubootenv.build_copy(stored, ENV_BYTES, flags=flag) for flag in (1, 0)]
    (unit.root / "env.bin").write_bytes(b"".join(copies))
    before = unit.snapshot()
    refused = unit.try_({}, slot="2")
    assert (refused.code, unit.snapshot()) == (45, before)
    assert "'slot' is read-only by its entry in .flags" in " ".join(refused.stderr.split())


def test_a_file_in_lines_has_no_namespaces(unit: Unit) -> None:
    (unit.root / "fw_env.config").write_text(
        "".join(f"{unit.root}/env.bin {at:#x} {ENV_BYTES:#x}\n" for at in (0, ENV_BYTES))
    )
    before = unit.snapshot()
    refused = unit.try_()
    assert (refused.code, unit.snapshot()) == (70, before)
    assert "is not in YAML" in " ".join(refused.stderr.split())


def test_an_update_that_fails_stores_none(unit: Unit) -> None:
    before = unit.app()
    failing = unit.try_(more=("-p", "true", "-P", "true"))
    assert failing.code == 0  # the commands around it do not matter
    (unit.root / "app.bin").write_bytes(
        b"".join(ubootenv.build_copy(before, ENV_BYTES, flags=flag) for flag in (1, 0))
    )
    member, bad = Member("rootfs.img", noise(3000)), Member("rootfs.img", noise(3000, 9))
    text = described(
        {
            "images": [entry(member, device=f"{unit.root}/slot-b.img", installed_directly=True)],
            "vars": ['{ name = "colour"; value = "blue"; }'],
        }
    ).replace(b"version", b'namespace-for-vars = "app";\n  version', 1)
    assert unit.install(archive(signed(text, bad)), pipe=True).code == 21
    assert unit.app() == before


def test_a_dry_run_stores_none(unit: Unit) -> None:
    before = unit.snapshot()
    assert unit.try_(more=("-n",)).code == 0
    assert unit.snapshot() == before
