"""sw-description to ``model.Description``: one board, one selection, everything typed and checked (swu format §2)."""

from collections.abc import Iterator
from typing import Any

from swagent.errors import DescriptionError, ScriptError, SelectionRefused, SettingsError
from swagent.model import Artifact, Description, Hardware, Kind, Selection

from . import fields
from .hooks import Hooks, amended
from .select import Document

SIZE_MAX_BYTES = 4 * 1024 * 1024
"""Descriptions of this size and above are refused where nothing else is configured."""

_DESCRIPTION_MAX_BYTES = 511
_BOOTENV_LINE_MAX_BYTES = 1022  # name=value; SWUpdate cuts what is longer
_WARNINGS_MAX = 50
_REQUIRES_MAX = 100
_SECTIONS = (
    ("images", Kind.IMAGE),
    ("files", Kind.FILE),
    ("scripts", Kind.SCRIPT),
    ("partitions", Kind.PARTITION),
)
_VARIABLE_SECTIONS = ("bootenv", "uboot", "vars")
GLOBALS = frozenset(
    (
        "version",
        "description",
        "hardware-compatibility",
        "update-type",
        "reboot",
        "bootloader_transaction_marker",
        "bootloader_state_marker",
        "output",
        "namespace-for-vars",
        "embedded-script",
        "requires",
    )
)
"""Attributes of the whole release."""

SECTIONS = frozenset((*(name for name, _ in _SECTIONS), *_VARIABLE_SECTIONS))
"""Lists of entries."""


def parse(
    text: bytes,
    *,
    hardware: Hardware | None,
    selection: Selection | None,
    root: str = "software",
    size_max_bytes: int = SIZE_MAX_BYTES,
) -> Description:
    """Read sw-description for one unit.

    Args:
        text: libconfig or JSON (when the first character that is not blank is a brace), decrypted and verified.
        hardware: the unit, None when it is not known.
        selection: software set and mode, None when nothing is selected.
        root: name of the outermost group.
        size_max_bytes: texts of this size and above are refused.

    Raises:
        DescriptionError: it cannot be understood, or describes nothing to install.
        SelectionRefused: nothing to install, and the selection does not exist in it.
    """
    return parse_with_warnings(
        text, hardware=hardware, selection=selection, root=root, size_max_bytes=size_max_bytes
    )[0]


def parse_with_warnings(
    text: bytes,
    *,
    hardware: Hardware | None,
    selection: Selection | None,
    root: str = "software",
    size_max_bytes: int = SIZE_MAX_BYTES,
    hooks: Hooks | None = None,
) -> tuple[Description, list[str]]:
    """As ``parse``, with what is worth telling although it is no error, such as misspelt attributes; a sentence each.

    Args:
        text: as there.
        hardware: as there.
        selection: as there.
        root: as there.
        size_max_bytes: as there.
        hooks: runs the Lua code in it; None leaves entries as they are written.

    Raises:
        DescriptionError: it cannot be understood, or describes nothing to install.
        SelectionRefused: nothing to install, and the selection does not exist in it.
        ScriptError: code in it failed or said no.
    """
    tree, is_json = read_tree(text, size_max_bytes=size_max_bytes)
    check_root(tree, root)
    document = Document(tree, root=root, hardware=hardware, selection=selection, lone_groups=is_json)
    return _Reading(document, hardware, selection, is_json=is_json, hooks=hooks).description()


def read_libconfig(text: bytes, *, where: str) -> dict[str, Any]:
    """Read a settings file in libconfig's language: dicts, lists (arrays), tuples (lists) and scalars.

    Args:
        text: the file's content; the caller bounds its size.
        where: its path, for messages.

    Raises:
        SettingsError: it is not libconfig text; the message has the line.
    """
    from . import libconfig

    try:
        return libconfig.read(text, where=where)
    except DescriptionError as exc:
        raise SettingsError(exc.message, hint=exc.hint) from exc


def read_tree(text: bytes, *, size_max_bytes: int = SIZE_MAX_BYTES) -> tuple[dict[str, Any], bool]:
    """The document as it stands, and whether it is JSON.

    Raises:
        DescriptionError: neither libconfig nor JSON, or too large.
    """
    if len(text) >= size_max_bytes:
        raise DescriptionError(
            f"sw-description: {len(text)} bytes; the limit is {size_max_bytes}",
            hint="sw-description-max-size in the settings file raises it",
        )
    is_json = text.lstrip(b" \t\r\n\v\f")[:1] == b"{"
    try:
        if is_json:
            from . import jsonlang

            return jsonlang.read(text), True
        from . import libconfig

        return libconfig.read(text), False
    except MemoryError as exc:
        raise DescriptionError("sw-description: it needs more memory than there is") from exc


def check_root(tree: dict[str, Any], root: str) -> None:
    """Refuse a document without its outermost group.

    Raises:
        DescriptionError: there is none.
    """
    if not isinstance(tree.get(root), dict):
        names = ", ".join(list(tree)[:5]) or "nothing"
        raise DescriptionError(
            f"sw-description: there is no group {root!r} in it, only {names[:200]}",
            hint=f"it must begin with {root} = {{",
        )


class _Reading:
    """One run over one document."""

    def __init__(
        self,
        document: Document,
        hardware: Hardware | None,
        selection: Selection | None,
        *,
        is_json: bool,
        hooks: Hooks | None,
    ) -> None:
        self._document = document
        self._hardware = hardware
        self._selection = selection
        self._is_json = is_json
        self._hooks = hooks
        self._warnings: list[str] = []
        self._unknown: dict[str, str] = {}

    def description(self) -> tuple[Description, list[str]]:
        find = self._document.find
        if find("version") is None:
            raise DescriptionError(
                "sw-description: the release has no version",
                hint=f'write version = "1.0"; in the group {self._document.root}',
            )
        self._check_names()
        compatible = self._hardware_compatibility()
        script = self._text("embedded-script", SIZE_MAX_BYTES)
        if script and self._hooks is not None:
            self._hooks.run_embedded(script)
        lists = {name: tuple(self._artifacts(name, kind)) for name, kind in _SECTIONS}
        bootenv = self._variables("bootenv" if find("bootenv") is not None else "uboot")
        variables = self._variables("vars")
        if not bootenv and not any(lists.values()):
            self._refuse_empty()
        if self._selection is not None and not self._selected():
            self._warn(f"the selection {self._selection} is not in this image; what it has for all is used")
        return Description(
            version=self._text("version"),
            description=self._text("description", _DESCRIPTION_MAX_BYTES),
            hardware_compatibility=compatible,
            update_type=self._text("update-type") or "default",
            reboot=self._reboot(),
            transaction_marker=self._flag("bootloader_transaction_marker"),
            state_marker=self._flag("bootloader_state_marker"),
            output=self._text("output"),
            namespace_for_vars=self._text("namespace-for-vars"),
            images=lists["images"],
            files=lists["files"],
            scripts=lists["scripts"],
            partitions=lists["partitions"],
            bootenv=bootenv,
            variables=variables,
            update_type_given=bool(self._text("update-type")),
            requires=self._requires(),
        ), self._warnings

    # -- attributes of the release

    def _text(self, key: str, max_bytes: int = fields.TEXT_MAX_BYTES) -> str:
        found = self._document.find(key)
        return "" if found is None else fields.text(self._document.root, key, found[0], max_bytes)

    def _flag(self, key: str) -> bool:
        found = self._document.find(key)
        return True if found is None else fields.flag(self._document.root, key, found[0])

    def _reboot(self) -> bool | None:
        found = self._document.find("reboot")
        if found is None:
            return None
        value = found[0]
        if isinstance(value, bool):
            return value
        if value in ("enabled", "disabled"):
            return bool(value == "enabled")
        raise fields.wrong(self._document.root, "reboot", 'must be true, false, "enabled" or "disabled"')

    def _hardware_compatibility(self) -> tuple[str, ...] | None:
        key = "hardware-compatibility"
        found = self._document.find(key)
        if found is None:
            return None
        if not isinstance(found[0], list | tuple):
            raise fields.wrong(
                self._document.root,
                key,
                f"must be a list of texts, not {fields.kind_of(found[0])}",
                'write hardware-compatibility: [ "1.0", "1.1" ]',
            )
        return tuple(fields.text(self._document.root, key, entry) for entry in found[0])

    def _requires(self) -> dict[str, str]:
        """What must be installed already; an attribute of ours, which SWUpdate ignores."""
        key = "requires"
        found = self._document.find(key)
        if found is None:
            return {}
        group, root = found[0], self._document.root
        how = 'write requires = { bootloader = ">=1.2"; }'
        if not isinstance(group, dict):
            raise fields.wrong(root, key, f"must be a group of texts, not {fields.kind_of(group)}", how)
        if len(group) > _REQUIRES_MAX:
            raise fields.wrong(root, key, f"names more than {_REQUIRES_MAX} components")
        from swagent.versions import read_constraint

        for name, given in group.items():
            constraint = fields.text(f"{root}.{key}", name, given)
            try:
                read_constraint(constraint)
            except ValueError as exc:
                raise fields.wrong(root, f"{key}.{name}", str(exc), how) from exc
        return dict(group)

    # -- entries

    def _artifacts(self, section: str, kind: Kind) -> Iterator[Artifact]:
        for place, entry in self._document.elements(section):
            name = entry.get("filename") or entry.get("name")
            where = f"{place} {name[:80]}" if isinstance(name, str) else place
            try:
                art = self._artifact(where, kind, entry)
                function = fields.text(where, "hook", entry.get("hook", ""))
                hooked = self._hooked(art, function, where)
            except (DescriptionError, ScriptError) as exc:
                given = entry.get("filename")
                exc.artifact = given if isinstance(given, str) else None
                raise
            if hooked is not None:
                yield hooked

    def _hooked(self, art: Artifact, function: str, where: str) -> Artifact | None:
        """What the hook makes of an entry; None when it is to be left out."""
        if not function or self._hooks is None:
            return art
        changes = self._hooks.run_hook(function, art)
        if changes is None:
            return None
        changed = amended(art, changes, where=f"{where}, as its hook {function} left it")
        if art.kind is not Kind.BOOTENV:
            _check_place(where, changed)
        return changed

    def _artifact(self, where: str, kind: Kind, entry: dict[str, Any]) -> Artifact:
        values: dict[str, Any] = {}
        for key, given in entry.items():
            reader = fields.READERS.get(key)
            if reader is None:
                self._warn_unknown(where, key, fields.READERS)
            elif key == "properties":
                values[key] = fields.properties(where, key, given, nested=not self._is_json)
            else:
                values[reader[0]] = reader[1](where, key, given)
        values.pop("hook", None)
        if not values.get("type"):
            values["type"] = _default_type(where, kind, values)
        fields.check_key_length(where, values)
        if entry.get("compressed") is True:
            self._warn(f'{where}: compressed = true is the old way to say compressed = "zlib"')
        if kind is Kind.PARTITION and values["type"] == "ubipartition":
            values.setdefault("volume", values.get("name", ""))
        art = Artifact(kind=kind, where=where, **values)
        _check_place(where, art)
        return art

    def _variables(self, section: str) -> dict[str, str]:
        result: dict[str, str] = {}
        for place, entry in self._document.elements(section):
            name = fields.text(place, "name", entry.get("name", ""))
            if not name:
                raise fields.wrong(place, "name", "is missing", "write { name = ...; value = ...; }")
            value = fields.text(place, "value", entry.get("value", ""), _BOOTENV_LINE_MAX_BYTES)
            function = fields.text(place, "hook", entry.get("hook", ""))
            # a hook sees a variable as an entry whose version is the value (swu format §2.11)
            pair = self._hooked(Artifact(Kind.BOOTENV, "", name=name, version=value), function, place)
            if pair is None:
                continue
            name, value = pair.name, pair.version
            if "=" in name or any(letter in "\n\r\0" for letter in name + value):
                raise DescriptionError(
                    f"sw-description: {place}: {name[:80]!r} cannot be stored: "
                    "a name has no '=', and neither name nor value a line break"
                )
            if len(f"{name}={value}".encode()) > _BOOTENV_LINE_MAX_BYTES:
                raise fields.wrong(
                    place, "value", f"is too long: name and value have {_BOOTENV_LINE_MAX_BYTES - 1} bytes"
                )
            for key in entry:
                if key not in ("name", "value", "hook"):
                    self._warn_unknown(place, key, ("name", "value"))
            if name in result:
                self._warn(f"{place}: {name!r} is set twice; the first value counts")
            else:
                if "value" not in entry:
                    self._warn(f"{place}: {name!r} has no value, so it is removed")
                result[name] = value
        return result

    # -- what is worth saying

    def _warn(self, message: str) -> None:
        if len(self._warnings) < _WARNINGS_MAX:
            self._warnings.append(f"sw-description: {message}")

    def _warn_unknown(self, place: str, key: str, known: Any) -> None:
        """Warn of a name that is nearly one we know; SWUpdate ignores every other."""
        if len(self._warnings) >= _WARNINGS_MAX or len(key) > 40:
            return
        if key not in self._unknown:
            if len(self._unknown) >= _WARNINGS_MAX:
                return
            from difflib import get_close_matches

            self._unknown[key] = next(iter(get_close_matches(key, known, n=1, cutoff=0.75)), "")
        if self._unknown[key]:
            self._warn(f"{place}: {key} is ignored; did you mean {self._unknown[key]}?")

    def _check_names(self) -> None:
        for base in self._document.bases:
            found = self._document.walk(base)
            if found is None or not isinstance(found[0], dict):
                continue
            for key, value in found[0].items():
                if not isinstance(value, dict) and key not in GLOBALS and key not in SECTIONS:
                    self._warn_unknown(".".join(base), key, sorted(GLOBALS | SECTIONS))

    # -- nothing to do

    def _selected(self) -> bool:
        document = self._document
        bases = document.bases[: len(document.bases) - (2 if self._hardware and self._hardware.board else 1)]
        return any(document.walk(base) is not None for base in bases)

    def _refuse_empty(self) -> None:
        from .outline import outline_of

        found = outline_of(self._document.tree, self._document.root)
        board = f" on board {self._hardware.board}" if self._hardware else ""
        hint = f"selections in this image: {' '.join(found.selections[:20])}" if found.selections else ""
        if self._selection is not None and not self._selected():
            raise SelectionRefused(
                f"sw-description: there is no selection {self._selection}{board} in this image, "
                "and nothing to install without one",
                hint=hint or "this image has no selections: install it without",
            )
        if not hint and found.boards:
            hint = f"boards in this image: {', '.join(found.boards[:20])}"
        raise DescriptionError(
            f"sw-description: nothing to install{board}"
            + (f" with selection {self._selection}" if self._selection else ""),
            hint=hint,
        )


def _default_type(where: str, kind: Kind, values: dict[str, Any]) -> str:
    if kind is Kind.FILE:
        return "rawfile"
    if kind is Kind.SCRIPT:
        return "lua"
    if kind is Kind.PARTITION:
        return "ubipartition"
    if values.get("volume"):
        return "ubivol"
    if values.get("device"):
        return "raw"
    raise DescriptionError(
        f"sw-description: {where}: type is missing",
        hint='name the handler, such as type = "raw"; see `swagent handlers`',
    )


def _check_place(where: str, art: Artifact) -> None:
    """What an entry of its section must have."""
    if art.kind is Kind.PARTITION:
        if art.type == "ubipartition":
            if not art.device:
                raise fields.wrong(where, "device", "is missing", "name the device whose layout changes")
            if not art.name:
                raise fields.wrong(where, "name", "is missing", "name the UBI volume")
    elif art.kind is not Kind.SCRIPT and not art.filename:
        raise DescriptionError(
            f"sw-description: {where}: filename is missing", hint="name the archive member to install"
        )
    if art.kind in (Kind.PARTITION, Kind.SCRIPT) and (art.preinstall or art.postinstall):
        raise fields.wrong(
            where,
            "preinstall" if art.preinstall else "postinstall",
            "is for images and files only",
            "a Lua script has functions of its own for each phase",
        )
