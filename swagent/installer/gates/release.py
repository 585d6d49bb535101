"""Gates on what the release says: is it made for this hardware, may this version follow what is installed?"""

from collections.abc import Mapping

from swagent.errors import HardwareRefused, VersionRefused
from swagent.installer.ere import Ere, EreError
from swagent.model import Plan, Unit
from swagent.settings import UpdateType
from swagent.versions import compare, read_constraint, satisfies

_REGEX_MARK = "#RE:"
_ENTRIES_MAX = 250  # bounds the time that expressions can take


class HardwareGate:
    """The revision must be one that the image names, or match one of its expressions (swu format §4).

    The board takes no part: it chose what the description holds for this unit.

    Args:
        strict: whether images that name no hardware are refused too.
    """

    name = "hardware"

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict

    def check(self, plan: Plan, unit: Unit) -> None:
        """Compare.

        Raises:
            HardwareRefused: no entry fits, or one side does not say.
        """
        accepted = plan.description.hardware_compatibility
        if accepted is None:
            if self._strict:
                raise HardwareRefused(
                    "the image does not say which hardware it is made for",
                    hint='add hardware-compatibility: [ "1.0" ]; to its sw-description',
                )
            return
        if unit.hardware is None:
            raise HardwareRefused(
                "it is not known what hardware this is, and the image is made for some only",
                hint="write board and revision into /etc/hwrevision, or use -H board:revision",
            )
        if len(accepted) > _ENTRIES_MAX:
            raise HardwareRefused(f"the image names more than {_ENTRIES_MAX} revisions")
        revision = unit.hardware.revision
        problems = []
        for entry in accepted:
            if entry == revision:
                return
            if entry.startswith(_REGEX_MARK):
                try:
                    if Ere(entry[len(_REGEX_MARK) :]).search(revision):
                        return
                except EreError as exc:
                    problems.append(f"{entry} cannot be used: {exc}")
        raise HardwareRefused(
            f"the image is not made for {unit.hardware}, but for revision {', '.join(accepted)[:500] or 'none'}",
            hint="; ".join(problems[:5]) or "check /etc/hwrevision, or take the image for this revision",
        )


class VersionGate:
    """What the release's update type lets in: not too low, not too high, not the same again (swu format §3, §6.7).

    Args:
        update_types: the types that the unit knows, by name.
        type_required: whether an image must say which type of update it is.
    """

    name = "version"

    def __init__(self, update_types: Mapping[str, UpdateType], *, type_required: bool = False) -> None:
        self._update_types = update_types
        self._type_required = type_required

    def check(self, plan: Plan, unit: Unit) -> None:
        """Compare.

        Raises:
            VersionRefused: the type is unknown or missing, or its rules exclude this version.
        """
        description = plan.description
        if self._type_required and not description.update_type_given:
            raise VersionRefused(
                "the image does not say which type of update it is, and this unit wants to know",
                hint='add update-type = "..."; to its sw-description',
            )
        rules = self._update_types.get(description.update_type)
        if rules is None:
            known = ", ".join(sorted(self._update_types))
            raise VersionRefused(
                f"the update type {description.update_type!r} is not known here",
                hint=f"update types of this unit: {known}",
            )
        version = description.version
        if rules.no_downgrading and compare(version, rules.no_downgrading) < 0:
            raise VersionRefused(
                f"release {version} is lower than {rules.no_downgrading}, the lowest that may be installed",
                hint="no-downgrading in the settings (-N) says so",
            )
        if rules.max_version and compare(version, rules.max_version) > 0:
            raise VersionRefused(
                f"release {version} is higher than {rules.max_version}, the highest that may be installed",
                hint="max-version in the settings says so",
            )
        if rules.no_reinstalling and version == rules.no_reinstalling:
            raise VersionRefused(
                f"release {version} is installed already", hint="no-reinstalling in the settings (-R) says so"
            )


class RequiresGate:
    """What the image requires to be installed already must be, in a version that meets its constraint.

    Judged is what is installed before the update; a component that the same image brings does not count.
    """

    name = "requires"

    def check(self, plan: Plan, unit: Unit) -> None:
        """Compare.

        Raises:
            VersionRefused: a component is missing, or no installed version of it fits; all such are listed.
        """
        missing = []
        for name, constraint in plan.description.requires.items():
            clauses = read_constraint(constraint)
            versions = unit.installed.get(name, ())
            if not any(satisfies(version, clauses) for version in versions):
                found = f"{' and '.join(versions)} is installed" if versions else "none is installed"
                missing.append(f"{name} {constraint} ({found})")
        if missing:
            raise VersionRefused(
                f"the image requires {'; '.join(missing)}"[:2000],
                hint="install that first; /etc/sw-versions, or `versions` in the settings, tells what is installed",
            )
