"""The lab's configuration: one YAML file, read by the rules of YAML 1.2, with the texts of ``match`` as they stand.

``on`` and ``off`` are words there, not truth values, and a vendor id ``0403`` is no number (boardswarm §3).
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from swagent.errors import RegistrationError, SettingsError

from .items import Properties

if TYPE_CHECKING:
    from yaml.nodes import Node

VERBS = ("list", "watch", "type", "power", "read", "write", "lease", "take")
"""What roles allow; ``take`` is to take a lease away from somebody."""
CONFIG_BYTES_MAX = 4 * 1024 * 1024
_HEX = ("udev.ID_VENDOR_ID", "udev.ID_MODEL_ID")
_NESTING_MAX = 32
_NODES_MAX = 200_000
_SPAN = re.compile(r"\s*([0-9]+)\s*(ms|msec|millis|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)?\s*")
_SPAN_S = {
    "": 1.0,
    "ms": 0.001,
    "mse": 0.001,
    "mil": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}


class ConsoleRule(NamedTuple):
    """A console of a device."""

    name: str
    parameters: Mapping[str, object]
    match: Properties


class VolumeRule(NamedTuple):
    """A volume of a device."""

    name: str
    match: Properties


class StepRule(NamedTuple):
    """One step of a mode."""

    match: Properties
    parameters: Mapping[str, object]
    stabilisation_s: float = 0.0


class ModeRule(NamedTuple):
    """One mode of a device.

    Attributes:
        depends: the mode that the device must be in before, None for any.
    """

    name: str
    depends: str | None
    sequence: tuple[StepRule, ...]


class DeviceRule(NamedTuple):
    """One device."""

    name: str
    consoles: tuple[ConsoleRule, ...]
    volumes: tuple[VolumeRule, ...]
    modes: tuple[ModeRule, ...]


class ProviderRule(NamedTuple):
    """One provider.

    Attributes:
        where: its place in the file, for messages.
        folder: of the file; paths in the parameters are relative to it.
    """

    name: str
    kind: str
    parameters: Mapping[str, object] | None
    where: str
    folder: str


class Oidc(NamedTuple):
    """Tokens of an OpenID Connect issuer; an empty ``audience`` takes those for anybody."""

    description: str
    uri: str
    client: str
    audience: tuple[str, ...] = ()


class Jwks(NamedTuple):
    """Tokens signed by a key of a file."""

    path: str


class RoleRule(NamedTuple):
    """What some callers may do: ``claim`` of their token is or has ``value``; "" for everybody."""

    claim: str
    value: str
    match: Properties
    verbs: tuple[str, ...]


class ServerRule(NamedTuple):
    """How the server listens, and whom it believes.

    Attributes:
        chain: path of its certificate chain, "" for cleartext.
        key: path of its key.
        roles: who may do what; None when anybody may do anything.
        logs: folder that gets what each console says, "" for none.
    """

    listen: str
    chain: str
    key: str
    authentication: tuple[Oidc | Jwks, ...]
    roles: tuple[RoleRule, ...] | None = None
    logs: str = ""


class LabConfig(NamedTuple):
    """Everything in the file; ``ignored`` has a sentence for each thing in it that means nothing here."""

    server: ServerRule
    providers: tuple[ProviderRule, ...]
    devices: tuple[DeviceRule, ...]
    ignored: tuple[str, ...]


def read_config(path: str) -> LabConfig:
    """Read the file.

    Raises:
        SettingsError: it cannot be read, is no YAML, or holds what it must not; the message has the place.
        RegistrationError: PyYAML is not installed.
    """
    return parse_config(read_file(path), path)


def read_file(path: str) -> bytes:
    """What is in a configuration.

    Raises:
        SettingsError: it cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > CONFIG_BYTES_MAX:
        raise SettingsError(f"{path} is larger than {CONFIG_BYTES_MAX} bytes")
    return data


def parse_config(data: bytes, path: str) -> LabConfig:
    """As ``read_config``, of what was in the file."""
    return _Reader(path).config(plain(data, path))


def plain(data: bytes, path: str) -> Any:
    """The plain values of a YAML file, by the rules of YAML 1.2; ``path`` is for messages. Raises SettingsError."""
    return _Reading(path).read(data)


# -- YAML


class _Reading:
    """Makes plain values of YAML nodes; mapping keys must be texts, and what is below ``match`` stays text."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left = _NODES_MAX

    def read(self, data: bytes) -> Any:
        try:
            import yaml
        except ImportError as exc:
            raise RegistrationError("the lab needs PyYAML", hint="pip install 'swagent[lab]'") from exc
        try:
            node = yaml.compose(data, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
            mark = getattr(exc, "problem_mark", None)
            line = f":{mark.line + 1}" if mark is not None else ""
            why = getattr(exc, "problem", None) or str(exc)
            raise SettingsError(f"{self._path}{line} is no YAML: {str(why)[:200]}") from exc
        return None if node is None else self._value(node, 0, raw=False)

    def _value(self, node: "Node", depth: int, *, raw: bool) -> Any:
        self._left -= 1  # aliases can make a small file large
        where = f"{self._path}:{node.start_mark.line + 1}"
        if depth > _NESTING_MAX or self._left < 0:
            raise SettingsError(f"{where}: this is nested or repeated too often")
        if node.id == "scalar":
            return node.value if raw or node.style is not None else _scalar(node.value)
        if node.id == "sequence":
            return [self._value(item, depth + 1, raw=raw) for item in node.value]
        found: dict[str, Any] = {}
        for key, value in self._pairs(node, where, depth):
            if key in found:
                raise SettingsError(f"{where}: {key!r} stands there twice")
            found[key] = self._value(value, depth + 1, raw=raw or key == "match")
        return found

    def _pairs(self, node: "Node", where: str, depth: int) -> list[tuple[str, "Node"]]:
        """Keys and values, with those that ``<<`` brings behind them where they are not set anew."""
        if depth > _NESTING_MAX:
            raise SettingsError(f"{where}: this is nested too deeply")
        own: list[tuple[str, Node]] = []
        merged: list[tuple[str, Node]] = []
        for key, value in node.value:
            if key.id != "scalar":
                raise SettingsError(f"{where}: a key must be a text")
            if key.value == "<<" and key.style is None:
                for other in value.value if value.id == "sequence" else [value]:
                    if other.id != "mapping":
                        raise SettingsError(f"{where}: << wants a mapping")
                    merged += self._pairs(other, where, depth + 1)
            else:
                own.append((key.value, value))
        names = {name for name, _ in own}
        for name, value in merged:
            if name not in names:
                names.add(name)
                own.append((name, value))
        return own


_INT = re.compile(r"[-+]?[0-9]{1,18}\Z|0x[0-9a-fA-F]{1,16}\Z|0o[0-7]{1,20}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?\Z")


def _scalar(text: str) -> str | int | float | bool | None:
    """A plain scalar by the core schema of YAML 1.2."""
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if _INT.match(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


# -- what it means


class _Reader:
    """Makes rules of plain values."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = os.path.dirname(os.path.abspath(path))
        self._ignored: list[str] = []

    def config(self, tree: Any) -> LabConfig:
        top = self._mapping(tree, self._path, "server", "providers", "devices")
        server = self._server(
            self._mapping_in(
                top, "server", self._path, "listen", "certificate", "authentication", "roles", "logs"
            )
        )
        providers = self._each(top, "providers", self._path, self._provider)
        devices = self._each(top, "devices", self._path, self._device)
        return LabConfig(server, providers, devices, tuple(self._ignored))

    def _server(self, given: Mapping[str, Any]) -> ServerRule:
        where = f"{self._path}: server"
        chain = key = ""
        if given.get("certificate") is not None:
            files = self._mapping_in(given, "certificate", where, "chain", "key")
            chain = self._text(files, "chain", f"{where}.certificate")
            key = self._text(files, "key", f"{where}.certificate")
        methods = self._each(given, "authentication", where, self._authentication)
        if not methods:
            raise SettingsError(f"{where}.authentication is empty", hint="name a jwks file or an oidc issuer")
        listen = self._text(given, "listen", where) if given.get("listen") is not None else ""
        roles = self._each(given, "roles", where, self._role) if given.get("roles") is not None else None
        logs = os.path.join(self._folder, self._text(given, "logs", where)) if "logs" in given else ""
        return ServerRule(listen, chain, key, methods, roles, logs)

    def _role(self, given: Any, where: str) -> RoleRule:
        found = self._mapping(given, where, "claim", "value", "match", "verbs")
        claim = self._text(found, "claim", where) if "claim" in found else ""
        value = self._text(found, "value", where) if claim else ""
        match = self._match(found, where) if "match" in found else {}
        verbs = found.get("verbs")
        if not isinstance(verbs, list) or not verbs or not set(map(str, verbs)) <= set(VERBS):
            raise SettingsError(f"{where}: verbs must be a list", hint=f"known are {', '.join(VERBS)}")
        return RoleRule(claim, value, match, tuple(verbs))

    def _authentication(self, given: Any, where: str) -> Oidc | Jwks:
        found = self._mapping(given, where, "type", "description", "uri", "client", "audience", "path")
        kind = self._text(found, "type", where)
        if kind == "jwks":
            return Jwks(os.path.join(self._folder, self._text(found, "path", where)))
        if kind != "oidc":
            raise SettingsError(f"{where}: type is {kind[:40]!r}", hint="known are oidc and jwks")
        audience = found.get("audience") or []
        if not isinstance(audience, list) or not all(isinstance(one, str) for one in audience):
            raise SettingsError(f"{where}: audience must be a list of texts")
        description, uri, client = (self._text(found, key, where) for key in ("description", "uri", "client"))
        return Oidc(description, uri, client, tuple(audience))

    def _provider(self, given: Any, where: str) -> ProviderRule:
        found = self._mapping(given, where, "name", "provider", "parameters")
        parameters = found.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise SettingsError(f"{where}: parameters must be a mapping")
        name, kind = self._text(found, "name", where), self._text(found, "provider", where)
        return ProviderRule(name, kind, parameters, where, self._folder)

    def _device(self, given: Any, where: str) -> DeviceRule:
        found = self._mapping(given, where, "name", "consoles", "volumes", "modes")
        device = DeviceRule(
            self._text(found, "name", where),
            self._each(found, "consoles", where, self._console),
            self._each(found, "volumes", where, self._volume) if found.get("volumes") is not None else (),
            self._each(found, "modes", where, self._mode),
        )
        names = [mode.name for mode in device.modes]
        for mode in device.modes:
            if mode.depends is not None and mode.depends not in names:
                raise SettingsError(
                    f"{where}: mode {mode.name!r} depends on {mode.depends!r}, which is no mode of this device",
                    hint=f"its modes are {', '.join(names)}",
                )
        for what, listed in (("mode", names), ("console", [c.name for c in device.consoles]),
                             ("volume", [v.name for v in device.volumes])):  # fmt: skip
            for name in {name for name in listed if listed.count(name) > 1}:
                raise SettingsError(f"{where}: the {what} {name!r} stands there twice")
        return device

    def _console(self, given: Any, where: str) -> ConsoleRule:
        found = self._mapping(given, where, "name", "parameters", "match", "default")
        return ConsoleRule(
            self._text(found, "name", where), self._parameters(found, where), self._match(found, where)
        )

    def _volume(self, given: Any, where: str) -> VolumeRule:
        found = self._mapping(given, where, "name", "match")
        return VolumeRule(self._text(found, "name", where), self._match(found, where))

    def _mode(self, given: Any, where: str) -> ModeRule:
        found = self._mapping(given, where, "name", "depends", "sequence")
        depends = self._text(found, "depends", where) if found.get("depends") is not None else None
        return ModeRule(
            self._text(found, "name", where), depends, self._each(found, "sequence", where, self._step)
        )

    def _step(self, given: Any, where: str) -> StepRule:
        found = self._mapping(given, where, "match", "parameters", "stabilisation")
        span = found.get("stabilisation")
        return StepRule(
            self._match(found, where),
            self._parameters(found, where),
            0.0 if span is None else seconds_of(str(span), f"{where}: stabilisation"),
        )

    def _parameters(self, given: Mapping[str, Any], where: str) -> Mapping[str, object]:
        found = given.get("parameters")
        if not isinstance(found, dict):
            raise SettingsError(
                f"{where}: parameters must be there, and a mapping", hint="{} says that there are none"
            )
        return found

    def _match(self, given: Mapping[str, Any], where: str) -> Properties:
        found = given.get("match")
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise SettingsError(
                f"{where}: match must be there, a mapping of names to texts", hint="{} fits any local item"
            )
        for key, value in found.items():
            if key in _HEX and value != value.lower():
                self._ignored.append(f"{where}: udev writes {key[5:]} small, and {value} fits nothing")
        return found

    # -- shapes

    def _mapping(self, given: Any, where: str, *known: str) -> Mapping[str, Any]:
        if not isinstance(given, dict):
            raise SettingsError(f"{where} must be a mapping with the keys {', '.join(known)}")
        self._ignored += [f"{where}: {key[:80]!r} is not used" for key in given if key not in known]
        return given

    def _mapping_in(self, given: Mapping[str, Any], key: str, where: str, *known: str) -> Mapping[str, Any]:
        if key not in given:
            raise SettingsError(f"{where}: {key} is missing")
        return self._mapping(given[key], f"{where}: {key}", *known)

    def _each(
        self, given: Mapping[str, Any], key: str, where: str, read: Callable[[Any, str], Any]
    ) -> tuple[Any, ...]:
        if key not in given:
            raise SettingsError(
                f"{where}: {key} is missing", hint="an empty list [] says that there are none"
            )
        found = given[key]
        if not isinstance(found, list):
            raise SettingsError(f"{where}: {key} must be a list")
        return tuple(read(one, f"{where}: {key}[{number}]") for number, one in enumerate(found))

    def _text(self, given: Mapping[str, Any], key: str, where: str) -> str:
        if key not in given:
            raise SettingsError(f"{where}: {key} is missing")
        found = given[key]
        if isinstance(found, int | float) and not isinstance(found, bool):
            found = str(found)
        if not isinstance(found, str) or not found:
            raise SettingsError(f"{where}: {key} must be a text")
        return found


def seconds_of(text: str, where: str) -> float:
    """``500ms``, ``2s``, ``1m 30s``; a bare number is seconds. Raises SettingsError, with ``where``."""
    at, total_s = 0, 0.0
    while at < len(text):
        found = _SPAN.match(text, at)
        if found is None or found.end() == at:
            raise SettingsError(f"{where} is {text[:40]!r}", hint="write 500ms, 2s or 1m 30s")
        unit = found[2] or ""
        total_s += int(found[1]) * (_SPAN_S.get(unit) or _SPAN_S.get(unit[:3]) or _SPAN_S[unit[0]])
        at = found.end()
    if not text.strip() or total_s > 86_400:
        raise SettingsError(f"{where} is {text[:40]!r}", hint="it goes up to 24h")
    return total_s
