"""The plan of a trial update: how a board is powered, talked to, given an image and asked how it went. A YAML file."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from swagent.errors import SettingsError

from .config import plain, read_file, seconds_of
from .talk import PROMPT

CONFIRM = "swagent confirm; swagent confirm --why"
CONFIRMED = r"is CONFIRMED"


class Plan(NamedTuple):
    r"""All of it; each has a default but ``install``.

    Attributes:
        install: command of the board's shell that installs the image; ``{size}`` is its bytes, ``{name}`` its file.
        storage: volume of the device that the image is written to while the board is off, "" for none.
        target: of that volume, "" for the only one that it has.
        console: of the device, "" for its first one.
        off: mode in which the board is off.
        on: mode in which it boots.
        prompt: regular expression of what its shell says when it waits for a command.
        login: regular expression of what asks for a user's name.
        user: whom to log in as, "" where there is no login.
        password: of that user; what is typed when the board asks with ``Password:``.
        reboot: command that reboots, "" to switch ``off`` and ``on`` instead.
        confirm: command after the reboot.
        confirmed: regular expression of what it says when the board keeps the update.
        version: command that prints what runs, "" for none.
        expected: regular expression of what it must print.
        boot_s: how long from power, or reboot, to the prompt, fallbacks included.
        install_s: how long an install may take.
        confirm_s: how long the board may take to decide, when it has booted.
        command_s: how long any other command may take.
    """

    install: str
    storage: str = ""
    target: str = ""
    console: str = ""
    off: str = "off"
    on: str = "on"
    prompt: str = PROMPT
    login: str = r"login: \Z"
    user: str = ""
    password: str = ""
    reboot: str = "reboot"
    confirm: str = CONFIRM
    confirmed: str = CONFIRMED
    version: str = ""
    expected: str = ""
    boot_s: float = 180.0
    install_s: float = 1800.0
    confirm_s: float = 120.0
    command_s: float = 60.0


_PATTERNS = ("prompt", "login", "confirmed", "expected")
_SPANS = {
    "boot-timeout": "boot_s",
    "install-timeout": "install_s",
    "confirm-timeout": "confirm_s",
    "command-timeout": "command_s",
}
_EMPTY_MEANS_NONE = ("reboot", "confirm")


def read_plan(path: str) -> Plan:
    """The plan in a file. Raises SettingsError, RegistrationError as ``config.read_config``."""
    return parse_plan(read_file(path), path)


def parse_plan(data: bytes, path: str) -> Plan:
    """As ``read_plan``, of what is in the file.

    Raises:
        SettingsError: it is no plan; the message has the place.
    """
    tree = plain(data, path)
    if not isinstance(tree, dict):
        raise SettingsError(f"{path} must be a mapping", hint=f"known are {', '.join(sorted(_known()))}")
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found[_field(key, path)] = _value(key, value, f"{path}: {key}")
    if not found.get("install"):
        raise SettingsError(
            f"{path}: install is missing", hint="it is the command that installs on the board"
        )
    plan = Plan(**found)
    if plan.target and not plan.storage:
        raise SettingsError(f"{path}: a target needs a storage")
    if plan.expected and not plan.version:
        raise SettingsError(f"{path}: expected needs version, the command that prints it")
    return plan


def filled(command: str, values: Mapping[str, str]) -> str:
    """A command with its ``{name}`` places filled; braces of the shell stay."""
    for name, value in values.items():
        command = command.replace("{" + name + "}", value)
    return command


def _known() -> set[str]:
    return {name for name in Plan._fields if name not in _SPANS.values()} | set(_SPANS)


def _field(key: str, path: str) -> str:
    if key not in _known():
        raise SettingsError(
            f"{path}: {key[:80]!r} is not known", hint=f"known are {', '.join(sorted(_known()))}"
        )
    return _SPANS.get(key, key)


def _value(key: str, value: Any, where: str) -> str | float:
    if key in _SPANS:
        return seconds_of(str(value), where)
    if not isinstance(value, str) or "\n" in value or "\0" in value:
        raise SettingsError(f"{where} must be a text of one line", hint="put it between quotes")
    if not value and key not in _EMPTY_MEANS_NONE:
        raise SettingsError(f"{where} is empty", hint="leave it out")
    if key in _PATTERNS:
        try:
            re.compile(value.encode(), re.MULTILINE)
        except re.error as exc:
            raise SettingsError(f"{where} is no regular expression: {exc}") from exc
    return value
