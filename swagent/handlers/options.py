"""Properties of an entry become a handler's typed ``Options`` before any byte moves; also what every handler must have.

A handler declares a named tuple ``Options``. Field ``create_destination: bool = False`` reads the property
``create-destination``; a field without a default is mandatory; ``Attributes:`` in its docstring documents it.
Types: ``str``, ``int``, ``bool``, each also ``| None``, and ``tuple[str, ...]``. ``Numbered`` gathers ``swap-0``,
``swap-1``, ... in a field ``swap``.
"""

import re
from typing import Any, ForwardRef, TypeVar

from swagent.errors import DescriptionError, RegistrationError
from swagent.model import Artifact, Compression, Kind
from swagent.plugins import Registry
from swagent.sizes import parse_size

from .api import Handler

T = TypeVar("T")

GENERIC = frozenset(
    {
        "allow-mounted",
        "chunk-table",
        "chunk-table-sha256",
        "decompressed-size",
        "decrypted-size",
        "user-data",
        "verify-first",
        "verify-write",
    }
)
"""Properties of the core, accepted on every entry."""
_SWITCHES = ("verify-first", "verify-write", "allow-mounted", "user-data")

Numbered = dict[int, tuple[str, ...]]
"""Properties ``NAME-0``, ``NAME-1``, ...: the values of each by its number, ascending."""


class NoOptions:
    """For handlers without properties of their own."""


class AnyOptions:
    """For handlers that read properties by themselves, whatever they are called."""


def read_options(options_cls: type[T], art: Artifact) -> tuple[T, list[str]]:
    """Fill a handler's ``Options`` from the properties of an entry.

    Args:
        options_cls: a named tuple, or a class without fields.
        art: the entry.

    Returns:
        The options, and warnings for the log: unknown properties, lists where one value is wanted.

    Raises:
        DescriptionError: a mandatory property is missing, or a value is not of its type.
    """
    names: tuple[str, ...] = getattr(options_cls, "_fields", ())
    values: dict[str, Any] = {}
    warnings: list[str] = []
    known = {name.replace("_", "-"): name for name in names}
    numbered: set[str] = set()
    for key, name in known.items():
        if _type_word(options_cls.__annotations__[name]) == "Numbered":
            values[name] = _numbered(key, art)
            numbered.update(f"{key}-{number}" for number in values[name])
            continue
        found = art.properties.get(key)
        if not found:
            if name not in _defaults(options_cls):
                raise DescriptionError(
                    f"{_who(art)}: handler {art.type} needs the property {key}",
                    artifact=art.label,
                    handler=art.type,
                )
            continue
        wanted = _type_word(options_cls.__annotations__[name])
        if wanted == "tuple[str, ...]":
            values[name] = found
            continue
        if len(found) > 1:
            warnings.append(f"{_who(art)}: property {key} has {len(found)} values, the last one counts")
        values[name] = _convert(found[-1], wanted, key, art)
    for key in _SWITCHES:
        if key in art.properties and key not in known:
            _convert(art.properties[key][-1], "bool", key, art)
    warnings += [
        f"{_who(art)}: handler {art.type} has no property {key}{_nearest(key, known)}"
        for key in art.properties
        if key not in known and key not in GENERIC and key not in numbered and options_cls is not AnyOptions
    ]
    return options_cls(**values), warnings


def describe_options(options_cls: type) -> list[tuple[str, str, str, str]]:
    """What a handler's properties are, for lists and documentation.

    Returns:
        Name, type (``str``, ``int``, ``bool`` or ``list``), default as one would write it ("" if it is mandatory or
        unset), and a sentence: from ``Attributes:`` in the docstring of the class.
    """
    found = []
    for name in getattr(options_cls, "_fields", ()):
        word = _type_word(options_cls.__annotations__[name])
        value = _defaults(options_cls).get(name)
        default = "" if value in (None, ()) else str(value)
        lines = re.search(rf"^( +){name}: (.*(?:\n\1 +.*)*)", options_cls.__doc__ or "", re.MULTILINE)
        kind = "list" if word in ("tuple[str, ...]", "Numbered") else word
        text = " ".join(lines[2].split()).removesuffix(".") if lines else ""
        key = name.replace("_", "-") + ("-N" if word == "Numbered" else "")
        found.append((key, kind, default.lower() if kind == "bool" else default, text))
    return found


def plain_size(art: Artifact) -> int | None:
    """How many plain bytes an entry has, as far as the description tells; None if it does not.

    Raises:
        DescriptionError: a size property is not a number.
    """
    name = plain_size_property(art.compression, art.cipher)
    return _size_property(art, name) if name else art.size_bytes


def plain_size_property(compression: Compression, cipher: str) -> str:
    """Which property says how many plain bytes a member has; "" when its own length does."""
    if compression is not Compression.NONE:
        return "decompressed-size"
    return "decrypted-size" if cipher else ""


def check_handler(name: str, found: Any, *, origin: str = "") -> None:
    """Whether something from the shelf is a handler.

    Raises:
        RegistrationError: it lacks its card, its ``Options`` or the verb for one of its kinds.
    """
    where = f" of {origin}" if origin else ""
    card = getattr(found, "card", None)
    kinds = getattr(card, "kinds", None)
    if not isinstance(kinds, Kind) or kinds.value == 0:
        raise RegistrationError(
            f"handler {name!r}{where} has no card", hint="decorate the class with @handler(name, kinds=...)"
        )
    verbs = []
    if kinds & (Kind.IMAGE | Kind.FILE):
        verbs.append("install")
    if Kind.SCRIPT in kinds:
        verbs.append("run")
    if Kind.PARTITION in kinds or not verbs:
        verbs.append("apply")
    missing = [verb for verb in verbs if not callable(getattr(found, verb, None))]
    if missing:
        raise RegistrationError(
            f"handler {name!r}{where} serves {kinds} but has no {' and no '.join(missing)}"
        )
    if not isinstance(getattr(found, "Options", None), type):
        raise RegistrationError(f"handler {name!r}{where} has no Options class", hint="Options = NoOptions")


def load(shelf: Registry[Handler], name: str) -> Handler | None:
    """The handler class of this name, checked; None if there is none.

    Raises:
        RegistrationError: it cannot be loaded, or is no handler.
    """
    found = shelf.get(name)
    if found is not None:
        check_handler(name, found)
    return found


def _defaults(options_cls: type) -> dict[str, Any]:
    return getattr(options_cls, "_field_defaults", {})


def _type_word(annotation: Any) -> str:
    """``str | None`` and the like, whether or not annotations are kept as text."""
    if annotation == Numbered:
        return "Numbered"
    if isinstance(annotation, ForwardRef):
        word = annotation.__forward_arg__
    elif isinstance(annotation, type):
        word = annotation.__name__
    else:
        word = str(annotation)
    return word.removesuffix(" | None")


def _convert(text: str, wanted: str, key: str, art: Artifact) -> Any:
    if wanted == "str":
        return text
    if wanted == "bool":
        if text in ("true", "TRUE"):
            return True
        if text in ("false", "FALSE"):
            return False
        raise DescriptionError(
            f'{_who(art)}: property {key} is {text[:40]!r}, not "true" or "false"',
            artifact=art.label,
            handler=art.type,
        )
    if wanted == "int":
        return _number(text, key, art)
    raise RegistrationError(f"handler {art.type!r}: an option cannot be of type {wanted}")


def _numbered(key: str, art: Artifact) -> dict[int, tuple[str, ...]]:
    """``KEY-0``, ``KEY-1``, ...; at least one of them is mandatory."""
    pattern = re.compile(rf"{re.escape(key)}-(0|[1-9][0-9]{{0,3}})\Z", re.ASCII)
    found = {
        int(match[1]): values for name, values in art.properties.items() if (match := pattern.match(name))
    }
    if not found:
        raise DescriptionError(
            f"{_who(art)}: handler {art.type} needs properties {key}-N", artifact=art.label, handler=art.type
        )
    return dict(sorted(found.items()))


def _number(text: str, key: str, art: Artifact) -> int:
    try:
        return parse_size(text)
    except ValueError as exc:
        raise DescriptionError(
            f"{_who(art)}: property {key}: {exc}", artifact=art.label, handler=art.type
        ) from exc


def _size_property(art: Artifact, key: str) -> int | None:
    text = art.prop(key)
    return None if text is None else _number(text, key, art)


def _who(art: Artifact) -> str:
    return art.where or art.label


def _nearest(key: str, known: dict[str, str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, [*known, *sorted(GENERIC)], n=1)
    return f"; did you mean {near[0]}?" if near else ""
