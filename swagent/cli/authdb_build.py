"""``swagent authdb build``, installed as ``UniDBGenerator`` too: a database of lists (authorization db §5).

Options act on the lists behind them, and list types are free text: a grammar of its own, read here.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from swagent.errors import UsageError

from .authdb import KEY_OPTION
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.authdb.writer import NewList

_LISTS = "lists, in this order"
_WAYS = ("raw", "glob", "regular")

COMMAND = Command(
    name="authdb build",
    summary="make a UniAuth.db; records of one type, effect and way become one list",
    target="authdb_build:run",
    own_grammar=True,
    options=(
        Option("project", metavar="NAME", help="project name in the header"),
        Option("output", short="o", metavar="FILE", help="the result"),
        Option("empty", help="make a database without lists, which restricts nothing"),
        Option("allow", group=_LISTS, help="what follows is allowed (the default)"),
        Option("deny", group=_LISTS, help="what follows is denied"),
        Option("raw", group=_LISTS, help="what follows is compared as it is (the default)"),
        Option("glob", group=_LISTS, help="what follows are shell patterns"),
        Option("regular", group=_LISTS, help="what follows are regular expressions"),
        Option(
            "cipher", metavar="NAME", group=_LISTS, help="how what follows is stored, such as aes-256-gcm"
        ),
        Option("XXX-list", metavar="FILE", group=_LISTS, help="records of type XXX: one a line, or a .csv"),
        Option("XXX", metavar="DATA", group=_LISTS, help="one record of type XXX, such as --msn SN1"),
        Option("image", metavar="FILE", group=_LISTS, help="the image_version of an unencrypted .swu"),
        KEY_OPTION._replace(group="protection"),
        Option("sign", metavar="FILE", group="protection", help="private key in PEM that signs it"),
        Option("abi", metavar="NAME", help="lp64 (the default) or ilp32, for 32-bit readers in C"),
    ),
    examples=(
        "swagent authdb build --project gateway --msn-list msn.txt --image update.swu -o UniAuth.db",
        "swagent authdb build --deny --model_number M1 --glob --model_number 'M2*' -o UniAuth.db --sign db.key",
        "swagent authdb build --cipher aes-256-gcm -K aes.key --msn-list sold.csv -o UniAuth.db",
    ),
)

_VALUES = ("project", "output", "key-aes", "sign", "abi")
_SHORT = {"-o": "output", "-K": "key-aes"}


class Wanted(NamedTuple):
    """One list: records of one type, effect, way and cipher, in the order of the command line.

    Attributes:
        sources: a file, or a record: pairs of path and "", or "" and record.
    """

    name: str
    allow: bool
    way: str
    cipher: str
    sources: list[tuple[str, str]]


class Recipe:
    """What a command line asks for.

    Args:
        words: the command line.

    Raises:
        UsageError: it makes no sense.
    """

    def __init__(self, words: list[str]) -> None:
        self.values: dict[str, str] = {}
        self.empty = False
        self.lists: dict[tuple[str, bool, str, str], Wanted] = {}
        allow, way, cipher = True, "raw", "none"
        rest = iter(words)
        for word in rest:
            name, value = _option(word)
            if name in ("allow", "deny"):
                allow = _switch(name, value) == "allow"
            elif name == "empty":
                self.empty = bool(_switch(name, value))
            elif name in _WAYS:
                way = _switch(name, value)
            else:
                value = _value(name, value, rest)
                if name in _VALUES:
                    self.values[name] = value
                elif name == "cipher":
                    cipher = value
                elif name == "image":
                    self._add("image_version", allow, way, cipher, ("", _version_of(value)))
                elif name.endswith("-list"):
                    self._add(name.removesuffix("-list"), allow, way, cipher, (value, ""))
                else:
                    self._add(name, allow, way, cipher, ("", value))
        if "output" not in self.values:
            _refuse("-o FILE is missing")
        if self.empty and self.lists:
            _refuse("--empty and lists were given")
        if not self.empty and not self.lists:
            _refuse("no list was given; a database without lists is made by --empty")

    def _add(self, name: str, allow: bool, way: str, cipher: str, source: tuple[str, str]) -> None:
        wanted = Wanted(name, allow, way, cipher, [])
        self.lists.setdefault((name, allow, way, cipher), wanted).sources.append(source)

    def new_lists(self) -> "list[NewList]":
        """For the writer.

        Raises:
            SettingsError: a file is not there, or cannot be read twice.
        """
        from swagent.authdb.layout import Matching
        from swagent.authdb.listfiles import check_file
        from swagent.authdb.writer import NewList

        found = []
        for wanted in self.lists.values():
            for path, _ in wanted.sources:
                if path:
                    check_file(path)
            matching = Matching[wanted.way.upper()]
            found.append(
                NewList(wanted.name, wanted.allow, partial(_records, wanted), matching, wanted.cipher)
            )
        return found


def run(args: Args) -> int:
    """Build, and say what came out."""
    from swagent.authdb import known_ciphers, known_lists
    from swagent.authdb.ciphers import read_key
    from swagent.authdb.layout import ABIS
    from swagent.authdb.reader import open_database
    from swagent.authdb.writer import write
    from swagent.crypto.schemes import load_private

    from .authdb_show import summary
    from .units import clean

    recipe = Recipe(args.arguments)
    values = recipe.values
    abi = ABIS.get(values.get("abi", "lp64"))
    if abi is None:
        _refuse(f"--abi takes {' or '.join(ABIS)}")
    write(
        values["output"],
        recipe.new_lists(),
        ciphers=known_ciphers(),
        key=read_key(values["key-aes"]) if "key-aes" in values else None,
        project=values.get("project", ""),
        abi=abi,
        signer=load_private(values["sign"]) if "sign" in values else None,
    )
    with open_database(values["output"]) as database:
        print(f"Built {summary(values['output'], database)}.")
    types = known_lists()
    for name in sorted({wanted.name for wanted in recipe.lists.values()}):
        if name not in types:
            print(f"warning: the list type {clean(name)} is not known here; units that do not know it refuse")
    return 0


def generator() -> NoReturn:
    """The program ``UniDBGenerator``."""
    import sys

    from .main import run as run_program

    sys.argv[1:1] = ["authdb", "build"]
    run_program()


def _option(word: str) -> tuple[str, str | None]:
    if word in _SHORT:
        return _SHORT[word], None
    if not word.startswith("--") or len(word) < 3:
        _refuse(f"{word!r} is no option")
    name, equals, value = word[2:].partition("=")
    return name, value if equals else None


def _switch(name: str, value: str | None) -> str:
    if value is not None:
        _refuse(f"--{name} takes no value")
    return name


def _value(name: str, value: str | None, rest: Iterator[str]) -> str:
    if value is None:
        value = next(rest, None)
        if value is None or (value.startswith("--") and len(value) > 2):
            _refuse(f"--{name} needs a value; one that begins with -- is written --{name}=VALUE")
    return value


def _records(wanted: Wanted) -> Iterator[bytes]:
    from swagent.authdb.listfiles import records

    return chain.from_iterable(
        records(path, wanted.name) if path else [record.encode("utf-8", "surrogateescape")]
        for path, record in wanted.sources
    )


def _version_of(path: str) -> str:
    from swagent.app import read_contents
    from swagent.errors import DescriptionError
    from swagent.settings import InstallSettings
    from swagent.sources import open_image
    from swagent.stream.source import open_source

    source = open_source(*open_image(path))
    version = read_contents(InstallSettings(), source).outline.version
    if not version:
        raise DescriptionError(f"{path} has no version", hint="its sw-description must have one")
    return version


def _refuse(message: str) -> NoReturn:
    raise UsageError(message, hint="see `swagent authdb build --help`")
