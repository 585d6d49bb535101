"""One image, installed by SWUpdate and by swagent on a device of files; verdicts and targets are compared.

A case is one row of a table. It says what SWUpdate does, in full: the verdict, and every file that is there afterwards.
swagent must do the same, or the row names the topic of docs/reference/compatibility.md that tells the difference, and
says what swagent does instead.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import KeyRing
from tests.programs import Done, cpio, must, run_swagent, run_swupdate

HARDWARE = ("-H", "board:1.0")  # Debian's build asks for hardware


def plain(data: bytes) -> bytes:
    return data


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row.

    Attributes:
        name: unique in its table.
        description: sw-description; ``@ROOT@`` is the device's folder, ``@SHA:x@`` and ``@SIZE:x@`` are of member x.
        members: what the archive holds behind the signature, in this order.
        words: options for both programs; ``@ROOT@``, ``@TMP@`` (a folder that is not compared), ``@AES@`` and
            ``@AES_OTHER@`` (key files) are replaced.
        device: files that are there before.
        ok: whether SWUpdate accepts it.
        holds: files that are there after SWUpdate (a link as ``-> target``, an empty folder as
            ``name/``); None when nothing changes.
        exit: swagent's exit status.
        ours: as ``holds``, for swagent; None when it is the same.
        differs: topic in the compatibility page, "" when there is no difference.
        says: what must be in swagent's message.
        modes: permissions that both promise, of files and folders.
        times: time of change promised for files, in seconds since the epoch.
        our_modes: permissions that swagent promises where it differs.
        mangle: changes the finished archive.
        names: members of the archive in order, with ``sw-description`` and its signature; None for the usual order.
        archive_format: of cpio.
        hardware: how the unit is named to both.
        settings: text of a settings file for both, given with ``-f``.
        handlers: the device's ``swupdate_handlers.lua``, replaced as the description is.
        quick: part of ``make test``; the others are left to ``make test-all``.
    """

    name: str
    description: str
    members: Mapping[str, bytes] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    device: Mapping[str, bytes] = field(default_factory=dict)
    ok: bool = True
    holds: Mapping[str, bytes] | None = None
    exit: int = 0
    ours: Mapping[str, bytes] | None = None
    differs: str = ""
    says: str = ""
    modes: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    our_modes: Mapping[str, int] | None = None
    mangle: Callable[[bytes], bytes] = plain
    names: tuple[str, ...] | None = None
    archive_format: str = "crc"
    hardware: tuple[str, ...] = HARDWARE
    settings: str = ""
    handlers: str = ""
    quick: bool = False

    @property
    def really_differs(self) -> bool:
        return self.ok != (self.exit == 0) or self.differs_on_device

    @property
    def differs_on_device(self) -> bool:
        return self.our_modes is not None or (self.ours is not None and self.ours != self.left)

    @property
    def left(self) -> Mapping[str, bytes]:
        return self.device if self.holds is None else self.holds


class Found(NamedTuple):
    """What is at a path: kind and permissions, owner, content or target of a link, number of names."""

    mode: str
    owner: tuple[int, int]
    content: bytes
    links: int


def params(cases: Iterable[Case]) -> list[object]:
    """For ``pytest.mark.parametrize``; a table that names differences which are none is an error."""
    found: list[object] = []
    names = set()
    for case in cases:
        assert case.name not in names, f"{case.name} is there twice"
        names.add(case.name)
        assert bool(case.differs) == case.really_differs, (
            f"{case.name}: a difference needs its topic, and a topic a difference"
        )
        found.append(pytest.param(case, id=case.name, marks=[] if case.quick else [pytest.mark.slow]))
    return found


class Bench:
    """A folder for one case: ``device`` is compared, ``other`` and ``tmp`` are not."""

    def __init__(self, folder: Path, key_ring: KeyRing) -> None:
        self.folder = folder
        self.device = folder / "device"
        self.other = folder / "other"
        self.key_ring = key_ring
        self.update = folder / "update.swu"

    def fresh(self, files: Mapping[str, bytes]) -> None:
        """A device with these files and nothing else."""
        for folder in (self.device, self.other, self.folder / "tmp"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for name, content in files.items():
            path = self.device / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def text(self, text: str, members: Mapping[str, bytes] | None = None) -> str:
        """With what stands between ``@`` replaced."""
        text = text.replace("@ROOT@", str(self.device)).replace("@TMP@", str(self.other))
        text = text.replace("@AES@", str(self.key_ring.aes)).replace(
            "@AES_OTHER@", str(self.key_ring.aes_other)
        )
        for name, content in (members or {}).items():
            text = text.replace(f"@SHA:{name}@", hashlib.sha256(content).hexdigest())
            text = text.replace(f"@SIZE:{name}@", str(len(content)))
        assert not re.search(r"@(SHA|SIZE):", text), f"a member is not there: {text}"
        return text

    def build(self, case: Case) -> None:
        """The archive, put together by openssl and cpio."""
        parts = self.folder / "parts"
        parts.mkdir()
        for name, content in case.members.items():
            (parts / name).parent.mkdir(parents=True, exist_ok=True)
            (parts / name).write_bytes(content)
        (parts / "sw-description").write_text(self.text(case.description, case.members))
        self.sign(parts)
        names = case.names or ("sw-description", "sw-description.sig", *case.members)
        self.update.write_bytes(case.mangle(cpio(parts, names, archive_format=case.archive_format)))

    def lua(self, case: Case) -> dict[str, str]:
        """Variables that show either program where the device's Lua handlers are."""
        folder = self.folder / "lua"
        if not case.handlers:
            return {}
        folder.mkdir(exist_ok=True)
        (folder / "swupdate_handlers.lua").write_text(self.text(case.handlers))
        return {"LUA_PATH": f"{folder}/?.lua", "SWAGENT_LUA_PATH": f"{folder}/?.lua"}

    def sign(self, parts: Path) -> None:
        """As SWUpdate's manual tells to."""
        must(
            ["openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-outform", "DER",
             "-signer", self.key_ring.cert, "-inkey", self.key_ring.key, "-nosmimecap", "-binary"],
            cwd=parts,
        )  # fmt: skip

    def words(self, case: Case, image: str = "") -> list[str]:
        """Options for both programs; ``image`` instead of the file that was built."""
        words = [self.text(word) for word in case.words]
        if case.settings:
            path = self.folder / "settings.cfg"
            path.write_text(self.text(case.settings))
            words += ["-f", str(path)]
        return ["-i", image or str(self.update), "-k", str(self.key_ring.cert), *case.hardware, *words]

    def snapshot(self) -> dict[str, Found]:
        """Everything below the device's folder."""
        found: dict[str, Found] = {}
        for path in sorted(self.device.rglob("*")):
            status = path.lstat()
            content = b""
            if path.is_symlink():
                content = os.readlink(path).encode()
            elif path.is_file():
                content = path.read_bytes()
            found[str(path.relative_to(self.device))] = Found(
                stat.filemode(status.st_mode),
                (status.st_uid, status.st_gid),
                content,
                1 if path.is_dir() else status.st_nlink,
            )
        return found

    def holds(self, expected: Mapping[str, bytes], done: Done) -> None:
        """The device has exactly these files."""
        found: dict[str, bytes] = {}
        for path in self.device.rglob("*"):
            name = str(path.relative_to(self.device))
            if path.is_symlink():
                found[name] = b"-> " + os.readlink(path).encode()
            elif path.is_file():
                found[name] = path.read_bytes()
            elif not any(path.iterdir()):
                found[f"{name}/"] = b""
        assert found == dict(expected), done.text

    def modes(self, expected: Mapping[str, int]) -> None:
        """These files and folders have these permissions."""
        for name, mode in expected.items():
            found = stat.S_IMODE((self.device / name).stat().st_mode)
            assert found == mode, f"{name}: {found:o}"

    def times(self, expected: Mapping[str, int]) -> None:
        """These files are as old as they were packed."""
        for name, time_s in expected.items():
            assert int((self.device / name).stat().st_mtime) == time_s, name


def no_hardware_here() -> None:
    """Skip a test that is about a unit without a name."""
    if Path("/etc/hwrevision").exists():
        pytest.skip("needs a machine without /etc/hwrevision")


def check(case: Case, folder: Path, key_ring: KeyRing) -> None:
    """Install one case with both programs and hold them against the row and against each other."""
    bench = Bench(folder, key_ring)
    if not case.hardware:
        no_hardware_here()
    bench.build(case)
    lua = bench.lua(case)
    theirs = run_swupdate(
        bench.words(case), folder, fresh=lambda: bench.fresh(case.device), stdin=None, **lua
    )
    their_device = bench.snapshot()
    assert theirs.ok == case.ok, f"SWUpdate is not what the row says:\n{theirs.text}"
    bench.holds(case.left, theirs)
    bench.modes(case.modes)
    bench.times(case.times)
    bench.fresh(case.device)
    ours = run_swagent(bench.words(case), folder, stdin=None, **lua)
    assert ours.code == case.exit, f"exit {ours.code}\n{ours.text}"
    assert "Traceback" not in ours.text, ours.text
    assert case.says in ours.text, ours.text
    bench.holds(case.left if case.ours is None else case.ours, ours)
    bench.modes(case.modes if case.our_modes is None else case.our_modes)
    bench.times(case.times)
    assert (bench.snapshot() == their_device) != case.differs_on_device, ours.text
    _check_stream(case, bench)


def _check_stream(case: Case, bench: Bench) -> None:
    """The same from standard input, where a member passes once: same verdict, and same targets when it is a yes."""
    by_file = bench.snapshot()
    bench.fresh(case.device)
    words = bench.words(case, "-")
    if "-c" in words:
        words[words.index("-c")] = "-n"
    streamed = run_swagent(words, bench.folder, stdin=bench.update.read_bytes(), **bench.lua(case))
    assert "Traceback" not in streamed.text, streamed.text
    assert (streamed.code == 0) == (case.exit == 0), f"from a stream: exit {streamed.code}\n{streamed.text}"
    if case.exit == 0:
        assert bench.snapshot() == by_file, f"from a stream:\n{streamed.text}"
    assert not list((bench.folder / "tmp").glob("swagent-*")), "temporary files are left"


# -- text of descriptions


def software(*parts: str, version: str = "1.0", hardware: str = '[ "1.0" ]') -> str:
    """A libconfig description with these sections in it."""
    lines = [f'version = "{version}";', f"hardware-compatibility: {hardware};", *parts]
    return "software =\n{\n  " + "\n  ".join(lines) + "\n}\n"


def section(name: str, *entries: str) -> str:
    return f"{name}: ( {', '.join(entries)} );"


def images(*entries: str) -> str:
    return section("images", *entries)


def files(*entries: str) -> str:
    return section("files", *entries)


def scripts(*entries: str) -> str:
    return section("scripts", *entries)


def entry(filename: str = "", /, **attributes: object) -> str:
    """A group; ``_`` in names stands for ``-``, and sha256 is added where there is a file name.

    ``sha256=None`` leaves it out.
    """
    if filename:
        attributes = {"filename": filename, "sha256": f"@SHA:{filename}@", **attributes}
    inner = " ".join(
        f"{key.replace('_', '-')} = {value_text(value)};"
        for key, value in attributes.items()
        if value is not None
    )
    return f"{{ {inner} }}"


def value_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, dict):
        return "{ " + " ".join(f"{key} = {value_text(v)};" for key, v in value.items()) + " }"
    if isinstance(value, list):
        return "[ " + ", ".join(value_text(v) for v in value) + " ]"
    return str(value)


def to_file(filename: str, target: str = "", /, **attributes: object) -> str:
    """An entry of files that goes to a path below the device's folder, by default of the same name."""
    return entry(filename, path=f"@ROOT@/{target or filename}", **attributes)


def to_device(filename: str, target: str = "disk", /, **attributes: object) -> str:
    """An entry of images that goes into a file that stands for a device."""
    return entry(filename, device=f"@ROOT@/{target}", **attributes)
