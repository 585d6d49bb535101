"""The one registry class. A shelf is a registry that also reads an entry-point group of the same name."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import RegistrationError

T = TypeVar("T")


class Entry(NamedTuple, Generic[T]):
    """One thing on a shelf.

    Attributes:
        name: what users call it.
        origin: where it comes from, such as ``built-in swagent.handlers.raw`` or ``package acme-handlers 1.2``.
        load: imports it; raises ImportError when something it needs is missing.
    """

    name: str
    origin: str
    load: Callable[[], T]


class Registry(Generic[T]):
    """Names to plug-ins, loaded when first asked for; a taken name is an error that names both origins.

    What other packages bring costs nobody else: one that cannot be loaded, or whose name is taken, is an error for
    those who ask for it. A built-in keeps its name; of two packages neither gets it.

    Args:
        shelf: the entry-point group and the word used in messages, such as ``swagent.handlers``.
    """

    def __init__(self, shelf: str) -> None:
        self.shelf = shelf
        self._entries: dict[str, Entry[T]] = {}
        self._loaded: dict[str, T] = {}
        self._unlucky: list[Entry[T]] = []
        self._sources: list[Callable[[Registry[T]], None]] = [Registry._read_entry_points]

    def copy(self) -> "Registry[T]":
        """A shelf that begins with the same entries; what is added to it later is not seen here."""
        found: Registry[T] = Registry(self.shelf)
        found._entries = dict(self._entries)
        found._loaded = dict(self._loaded)
        found._unlucky = list(self._unlucky)
        found._sources = list(self._sources)
        return found

    def add_source(self, read: "Callable[[Registry[T]], None]") -> None:
        """Have ``read`` add its entries, once, when a name is wanted that is not there yet, or all are listed.

        Sources are asked one after the other, until the name is there; other packages' entry points come first.
        """
        self._sources.append(read)

    def add(self, entry: Entry[T]) -> None:
        """Register one entry.

        Raises:
            RegistrationError: the name is taken.
        """
        taken = self._entries.get(entry.name)
        if taken is not None:
            raise RegistrationError(
                f"{self.shelf}: the name {entry.name!r} of {entry.origin} is taken by {taken.origin}",
                hint="uninstall or rename one of the two",
            )
        self._entries[entry.name] = entry

    def remove(self, name: str) -> None:
        """Drop an entry that belonged to one session only."""
        self._entries.pop(name, None)
        self._loaded.pop(name, None)

    def add_built_ins(self, package: str, built_ins: tuple[tuple[str, str], ...]) -> None:
        """Register ``(name, "module:attribute")`` pairs of a package without importing them."""
        for name, target in built_ins:
            self.add(
                Entry(name, f"built-in {package}.{target.partition(':')[0]}", _importer(package, target))
            )

    def get(self, name: str) -> T | None:
        """The plug-in of this name, None if there is none.

        Raises:
            RegistrationError: it is there but cannot be loaded.
        """
        if name not in self:
            return None
        entry = self._entries[name]
        if name not in self._loaded:
            self._loaded[name] = self.load(entry)
        return self._loaded[name]

    def load(self, entry: Entry[T]) -> T:
        """The plug-in of an entry.

        Raises:
            RegistrationError: it cannot be loaded.
        """
        try:
            return entry.load()
        except (ImportError, AttributeError) as exc:
            raise RegistrationError(
                f"{self.shelf}: {entry.name!r} ({entry.origin}) cannot be loaded: {exc}"
            ) from exc

    def __contains__(self, name: str) -> bool:
        while name not in self._entries and self._sources:
            self._sources.pop(0)(self)
        return name in self._entries

    def known(self) -> list[str]:
        """The names that are there without asking any source, sorted."""
        return sorted(self._entries)

    def entries(self) -> Iterator[Entry[T]]:
        """All entries by name, those of other packages included, even where their name is taken."""
        self._read_sources()
        yield from sorted([*self._entries.values(), *self._unlucky], key=lambda entry: entry.name)

    def names(self) -> list[str]:
        """All names, sorted."""
        self._read_sources()
        return sorted(self._entries)

    def _read_sources(self) -> None:
        while self._sources:
            self._sources.pop(0)(self)

    def _read_entry_points(self) -> None:
        from importlib.metadata import entry_points  # 40 ms: only when a name is not built in

        for point in entry_points(group=self.shelf):
            package = point.dist.name if point.dist is not None else "unknown package"
            version = point.dist.version if point.dist is not None else ""
            self._add_of_package(
                Entry(point.name, f"package {package} {version}".rstrip(), _careful(point.load))
            )

    def _add_of_package(self, entry: Entry[T]) -> None:
        try:
            self.add(entry)
        except RegistrationError as exc:
            refused = _raiser(exc)
            self._unlucky.append(entry._replace(load=refused))
            taken = self._entries[entry.name]
            if not taken.origin.startswith("built-in "):
                self._entries[entry.name] = taken._replace(load=refused)


def _importer(package: str, target: str) -> Callable[[], Any]:
    def load() -> Any:
        from importlib import import_module

        module, _, attribute = target.partition(":")
        return getattr(import_module(f"{package}.{module}"), attribute)

    return load


def _careful(load: Callable[[], T]) -> Callable[[], T]:
    """Whatever somebody else's module does when it is imported, it is one plug-in that cannot be loaded."""

    def load_it() -> T:
        try:
            return load()
        except (ImportError, AttributeError):
            raise
        except (Exception, SystemExit) as exc:
            raise ImportError(f"{type(exc).__name__}: {exc}") from exc

    return load_it


def _raiser(exc: RegistrationError) -> Callable[[], Any]:
    def refuse() -> Any:
        raise exc

    return refuse
