"""Where a unit's data are: each is named by a URI in the settings, whose scheme says how to get it.

``file:PATH`` (or a path), ``dt:PROPERTY`` of the device tree, ``dmi:FIELD``, ``bootenv:VARIABLE``,
``cmd:PROGRAM ARGS``, ``sw-description:`` (the version of the release) or ``sw-description:NAME`` (of an entry),
``text:VALUE``.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from swagent.clock import Clock
from swagent.errors import ScriptError, SettingsError
from swagent.model import Description

from .facts import fit

if TYPE_CHECKING:
    from swagent.bootloader import Bootloader

NAMES = ("msn", "model_number", "image_version", "host_serial", "activation_code")
USUAL = {"image_version": "sw-description:"}
COMMAND_DEADLINE_S = 30
_BYTES_MAX = 4096


class Run(Protocol):
    """Runs a program, as ``hw.run`` does."""

    def __call__(self, argv: list[str], *, log: Callable[[str, str], None], deadline_s: float) -> int:
        """Its exit status; its output goes to ``log``, standard output as ``trace``."""
        ...


class UnitFacts:
    """What this unit and an image tell.

    Args:
        sources: name of a datum to its URI, "" for the usual one.
        description: of the image.
        bootloader: for ``bootenv:``, None where there is none.
        run: for ``cmd:``.
        clock: what time it is.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        description: Description,
        *,
        bootloader: "Bootloader | None",
        run: Run,
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._description = description
        self._bootloader = bootloader
        self._run = run
        self._clock = clock

    def now_s(self) -> float:
        """By the clock."""
        return self._clock.now_s()

    def value(self, name: str) -> str:
        """The datum of this name.

        Raises:
            SettingsError: no source is set, or what it tells is no datum.
            DeviceError, BootEnvError, ScriptError, DeadlineError: the source does not tell.
        """
        uri = self._sources.get(name) or USUAL.get(name, "")
        if not uri:
            raise SettingsError(
                f"nothing says where the {name} of this unit is",
                hint=f"set {name} in the group authorization, such as file:/etc/{name}",
            )
        scheme, colon, rest = uri.partition(":")
        if uri.startswith("/"):
            scheme, rest = "file", uri
        read = self._readers().get(scheme) if colon or uri.startswith("/") else None
        if read is None:
            known = ", ".join(self._readers())
            # not shown: it may be the datum itself, and a secret
            raise SettingsError(f"the setting {name} names no source", hint=f"sources are {known}")
        return fit(name, read(rest))

    def _readers(self) -> dict[str, Callable[[str], str]]:
        from swagent.hw.firmware import device_tree_property, dmi_field

        return {
            "file": _file,
            "dt": device_tree_property,
            "dmi": dmi_field,
            "bootenv": self._variable,
            "cmd": self._command,
            "sw-description": self._version,
            "text": str,
        }

    def _variable(self, name: str) -> str:
        if self._bootloader is None:
            raise SettingsError(f"bootenv:{name}: no boot loader is known here", hint="set bootloader")
        return self._bootloader.get(name) or ""

    def _command(self, line: str) -> str:
        from shlex import split

        printed: list[str] = []

        def keep(level: str, text: str) -> None:
            if level == "trace" and len(printed) < 2:
                printed.append(text)

        try:
            argv = split(line)
        except ValueError as exc:
            raise SettingsError(f"cmd:{line[:80]} cannot be split: {exc}") from exc
        if not argv:
            raise SettingsError("cmd: names no program")
        status = self._run(argv, log=keep, deadline_s=COMMAND_DEADLINE_S)
        if status:
            raise ScriptError(f"{argv[0]} ended with status {status}")
        return "\n".join(printed)

    def _version(self, entry: str) -> str:
        if not entry:
            return self._description.version
        found = [
            art for art in (*self._description.installables, *self._description.scripts) if art.name == entry
        ]
        if len(found) != 1:
            raise SettingsError(f"the image has {len(found)} entries named {entry!r}, not one")
        return found[0].version


def _file(path: str) -> str:
    from swagent.crypto.keys import path_of

    path = path_of(f"file:{path}")
    try:
        with open(path, "rb") as file:
            return file.read(_BYTES_MAX).decode(errors="replace")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise SettingsError(f"cannot read {path}: {reason}") from exc
