import pytest

from swagent.errors import HardwareRefused, VersionRefused
from swagent.installer.gates import HardwareGate, RequiresGate, VersionGate
from swagent.installer.gates.floor import FloorGate
from swagent.model import Description, Gate, Hardware, Plan, Unit
from swagent.settings import UpdateType

ANY = {"default": UpdateType("default")}


def made_for(*revisions: str) -> Plan:
    return Plan(Description("1", hardware_compatibility=revisions), (), ())


def unit(revision: str) -> Unit:
    return Unit(Hardware("bd", revision))


def release(version: str, update_type: str | None = None) -> Plan:
    given = update_type is not None
    return Plan(Description(version, update_type=update_type or "default", update_type_given=given), (), ())


def test_gates_have_names() -> None:
    gates: list[Gate] = [HardwareGate(), VersionGate(ANY)]
    assert [gate.name for gate in gates] == ["hardware", "version"]


@pytest.mark.parametrize(
    "revisions", [("1.0",), ("2.0", "1.0"), ("#RE:^1\\.[[:digit:]]$",), ("#RE:(", "1.0"), ("#RE:0",)]
)
def test_a_revision_that_is_named_or_matched_may_enter(revisions: tuple[str, ...]) -> None:
    HardwareGate().check(made_for(*revisions), unit("1.0"))


@pytest.mark.parametrize("revisions", [(), ("1",), ("bd",), ("1.0 ",), ("#RE:^2",), ("#RE:bd",), ("RE:1.0",)])
def test_another_revision_may_not(revisions: tuple[str, ...]) -> None:
    with pytest.raises(HardwareRefused, match=r"not made for bd rev 1\.0"):
        HardwareGate().check(made_for(*revisions), unit("1.0"))


def test_an_expression_that_does_not_compile_is_named() -> None:
    with pytest.raises(HardwareRefused) as caught:
        HardwareGate().check(made_for("#RE:\\d+", "#RE:(?=1)"), unit("1.0"))
    assert "#RE:\\d+ cannot be used: \\d does not exist" in caught.value.hint
    assert "#RE:(?=1) cannot be used" in caught.value.hint


def test_an_entry_that_is_no_expression_is_a_text() -> None:
    HardwareGate().check(made_for("#RE:("), unit("#RE:("))


def test_an_unknown_unit_is_refused_whatever_the_gate() -> None:
    for gate in (HardwareGate(), HardwareGate(strict=False)):
        with pytest.raises(HardwareRefused, match="not known"):
            gate.check(made_for("1.0"), Unit())


def test_an_image_that_names_no_hardware_needs_a_lenient_gate() -> None:
    silent = Plan(Description("1"), (), ())
    HardwareGate(strict=False).check(silent, Unit())
    for asked in (Unit(), unit("1.0")):
        with pytest.raises(HardwareRefused, match="does not say"):
            HardwareGate().check(silent, asked)


def test_too_many_revisions_are_refused() -> None:
    with pytest.raises(HardwareRefused, match="more than 250"):
        HardwareGate().check(made_for(*["1.0"] * 251), unit("1.0"))


@pytest.mark.parametrize(
    ("rules", "low", "passes", "refused"),
    [
        (UpdateType("default", no_downgrading="1.5"), "lower", ["1.5", "1.5.0", "2"], ["1.4", "1.5-rc1", ""]),
        (UpdateType("default", max_version="2.0"), "higher", ["2", "1.9", "2.0-rc1"], ["2.0.1", "3"]),
        (UpdateType("default", no_reinstalling="1.0"), "installed already", ["1.0.0", "1.1", "0.9"], ["1.0"]),
    ],
)
def test_rules_on_versions(rules: UpdateType, low: str, passes: list[str], refused: list[str]) -> None:
    gate = VersionGate({"default": rules})
    for version in passes:
        gate.check(release(version), Unit())
    for version in refused:
        with pytest.raises(VersionRefused, match=low):
            gate.check(release(version), Unit())


def test_the_rules_are_those_of_the_type() -> None:
    gate = VersionGate({**ANY, "kernel": UpdateType("kernel", max_version="1")})
    gate.check(release("2"), Unit())
    gate.check(release("2", "default"), Unit())
    with pytest.raises(VersionRefused, match="higher than 1"):
        gate.check(release("2", "kernel"), Unit())
    with pytest.raises(VersionRefused, match="'rootfs' is not known") as caught:
        gate.check(release("2", "rootfs"), Unit())
    assert caught.value.hint.endswith("default, kernel")


def test_a_type_may_be_demanded() -> None:
    gate = VersionGate(ANY, type_required=True)
    gate.check(release("1", "default"), Unit())
    with pytest.raises(VersionRefused, match="does not say which type"):
        gate.check(release("1"), Unit())


def requiring(**requires: str) -> Plan:
    return Plan(Description("1", requires=requires), (), ())


HAS = Unit(installed={"bootloader": ("1.3",), "app": ("1.9", "2.4")})


@pytest.mark.parametrize(
    "requires",
    [
        {},
        {"bootloader": ">=1.2"},
        {"bootloader": "1.3"},
        {"bootloader": "= 1.3.0 , !=1.4"},
        {"bootloader": ">=1.3,<=1.3"},
        {"app": ">=2,<3"},
        {"app": "<2"},
        {"bootloader": ">1.2", "app": ">2"},
    ],
)
def test_what_is_required_is_installed(requires: dict[str, str]) -> None:
    RequiresGate().check(requiring(**requires), HAS)


@pytest.mark.parametrize("constraint", [">=1.4", ">1.3", "<1.3", "<=1.2", "!=1.3", "1.2", ">=1,<1.3"])
def test_another_version_is_refused(constraint: str) -> None:
    with pytest.raises(VersionRefused) as caught:
        RequiresGate().check(requiring(bootloader=constraint), HAS)
    assert f"bootloader {constraint} (1.3 is installed)" in caught.value.message


def test_one_version_must_meet_the_whole_constraint() -> None:
    with pytest.raises(VersionRefused, match=r"app >1\.9,<2 \(1\.9 and 2\.4 is installed\)"):
        RequiresGate().check(requiring(app=">1.9,<2"), HAS)


def test_everything_that_is_missing_is_listed() -> None:
    with pytest.raises(VersionRefused) as caught:
        RequiresGate().check(requiring(kernel=">=6", bootloader=">=2", app=">=2"), HAS)
    told = caught.value.message
    assert "kernel >=6 (none is installed); bootloader >=2 (1.3 is installed)" in told
    assert "app" not in told


@pytest.mark.parametrize(
    ("version", "passes"),
    [
        ("2.4.0", True),
        ("2.4", True),
        ("2.4.1", True),
        ("10.0", True),
        ("2.3.9", False),
        ("2.4.0-rc.1", False),
        ("", False),
    ],
)
def test_nothing_below_the_floor(version: str, passes: bool) -> None:
    gate = FloorGate("2.4.0")
    plan = Plan(Description(version), (), ())
    if passes:
        gate.check(plan, Unit())
        return
    with pytest.raises(VersionRefused, match=r"is below 2\.4\.0") as caught:
        gate.check(plan, Unit())
    assert "--below-floor" in caught.value.hint
