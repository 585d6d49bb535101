"""A device with two copies of its system, for cutting its power: what it holds, and whether that is sound."""

import gzip
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from swagent.bootloader import Bootloader, ubootenv
from swagent.bootloader.ebg import EfiBootGuard
from swagent.bootloader.ebgenv import STRING_TYPE, TEXT_BYTES, Environment, Record, build, parse
from swagent.bootloader.grub import Grub as GrubEnv
from swagent.bootloader.uboot import UBoot
from swagent.errors import BootEnvError
from swagent.installer.journal import Journal
from swagent.stream.chunks import Chunk, pack
from swagent.testing.powercut import Tree, read_tree
from swagent.testing.recording import Recorder

from .device import Device, Outcome
from .images import Image, Member, described, entry, half_noise, noise, signed

SLOT_BYTES = 600_001
"""Enough for the threads of the pipe, and an odd end that O_DIRECT does not take."""
KERNEL_BYTES = 20_000
OLD_CONF, NEW_CONF = b"colour = red\n" * 60, b"colour = green\n" * 70
ADDED = b"the only copy\n" * 80
OLD_VERSIONS, NEW_VERSIONS = b"rootfs\t\t1.0\n", b"rootfs\t\t2.0\n"
OTHER = {"a": "b", "b": "a"}


@dataclass(frozen=True)
class System:
    """The content of one copy."""

    rootfs: bytes
    kernel: bytes

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of both."""
        return digest(self.rootfs), digest(self.kernel)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digests(tree: Tree, slot: str) -> tuple[str, ...]:
    """Those of what a copy holds."""
    return digest(tree.files[f"rootfs-{slot}.img"]), digest(tree.files[f"kernel-{slot}.img"])


FIRST, SECOND, NEW = (
    System(noise(SLOT_BYTES, seed), half_noise(KERNEL_BYTES // 128 * 128, seed + 50)) for seed in (11, 12, 13)
)


ONE_SECTOR = {"slot": "a", "bootcount": "0"}
SEVERAL_SECTORS = {**ONE_SECTOR, "bootcmd": "run it; " * 100}


class Loader:
    """Where the boot variables are; this one: U-Boot, two copies."""

    name = "uboot"
    copies = 2
    env_bytes = 0x1000
    variables = SEVERAL_SECTORS

    def files(self, root: Path) -> dict[str, bytes]:
        """What there is of it before any update."""
        places = "".join(
            f"{root}/env.bin {at * self.env_bytes:#x} {self.env_bytes:#x}\n" for at in range(self.copies)
        )
        flags = range(self.copies, 0, -1) if self.copies > 1 else [None]
        copies = [ubootenv.build_copy(self.variables, self.env_bytes, flags=flag) for flag in flags]
        return {"fw_env.config": places.encode(), "env.bin": b"".join(copies)}

    def options(self, root: Path) -> list[str]:
        """How swagent is told of it."""
        return ["-B", "uboot", "--fwenv-config", f"{root}/fw_env.config"]

    marks = True
    """Whether the environment tells that an update has begun; the journal does everywhere."""

    def settings(self, root: Path) -> str:
        """What it needs in the settings file."""
        return ""

    def boots(self, root: Path) -> None:
        """What the boot loader does when it starts: U-Boot counts starts of an update that is not confirmed yet."""
        env = self.read(root)
        if env.get("upgrade_available") == "1":
            self.bootloader(root).set_many({"bootcount": str(int(env["bootcount"]) + 1)})

    def start(self, root: Path) -> None:
        """The boot loader has started what the environment names, and the system has said that it is good."""

    def read(self, root: Path) -> dict[str, str]:
        """The variables in force, as swagent reads them."""
        return self.bootloader(root).all()

    def bootloader(self, root: Path) -> Bootloader:
        """What reads and writes them."""
        lock = str(root.parent / "run" / "env.lock")
        return UBoot({"fwenv-config-location": f"{root}/fw_env.config", "fwenv-lockfile": lock})

    def tool(self, root: Path) -> list[str]:
        """The boot loader's own program, that prints them."""
        return ["fw_printenv", "-c", f"{root}/fw_env.config"]


class OneCopy(Loader):
    """U-Boot, one copy whose variables fit into its first sector."""

    copies = 1
    variables = ONE_SECTOR


class OneLargeCopy(Loader):
    """U-Boot, one copy of more variables than one sector holds."""

    copies = 1


class Grub(Loader):
    """GRUB, with its block on the file system of the rest."""

    name = "grub"

    def files(self, root: Path) -> dict[str, bytes]:
        lines = "".join(f"{name}={value}\n" for name, value in self.variables.items())
        return {"boot/grubenv": b"# GRUB Environment Block\n" + lines.encode().ljust(999, b"#")}

    def options(self, root: Path) -> list[str]:
        return ["-B", "grub", "--grubenv", f"{root}/boot/grubenv"]

    def bootloader(self, root: Path) -> Bootloader:
        return GrubEnv({"grubenv-path": f"{root}/boot/grubenv"})

    def tool(self, root: Path) -> list[str]:
        return ["grub-editenv", f"{root}/boot/grubenv", "list"]


class Ebg(Loader):
    """EFI Boot Guard, two config partitions."""

    name = "ebg"
    variables = ONE_SECTOR
    marks = False

    def files(self, root: Path) -> dict[str, bytes]:
        records = [
            Record(name.encode(), STRING_TYPE, value.encode() + b"\0") for name, value in ONE_SECTOR.items()
        ]
        kernel = "C:BOOT:vmlinuz".encode("utf-16-le").ljust(TEXT_BYTES, b"\0")
        environment = Environment(kernel, bytes(TEXT_BYTES), 0, 0, 30, 2, tuple(records), 4096)
        copies = (environment, environment._replace(revision=1))
        return {f"config{n}/BGENV.DAT": build(copy) for n, copy in enumerate(copies)}

    def settings(self, root: Path) -> str:
        return f'ebg-config-paths = "{root}/config0 {root}/config1";'

    def options(self, root: Path) -> list[str]:
        return ["-B", "ebg"]

    def boots(self, root: Path) -> None:
        for path in sorted(root.glob("config*/BGENV.DAT")):
            copy = parse(path.read_bytes(), str(path))
            if copy is not None and copy.ustate == 1:
                path.write_bytes(build(copy._replace(ustate=2)))  # it is being tried

    def start(self, root: Path) -> None:
        self.boots(root)
        self.bootloader(root).set_many({"ustate": "0"})

    def bootloader(self, root: Path) -> Bootloader:
        return EfiBootGuard({"ebg-config-paths": f"{root}/config0 {root}/config1"})


def _table(plain: bytes, chunk_bytes: int) -> bytes:
    pieces = [plain[at : at + chunk_bytes] for at in range(0, len(plain), chunk_bytes)]
    found = ((len(piece), hashlib.sha256(piece).digest()) for piece in pieces)
    chunks = (Chunk(size, sha256, sha256) for size, sha256 in found)
    return pack(chunks, chunk_bytes=chunk_bytes, plain_bytes=len(plain))


class Unit(Device):
    """The device."""

    def __init__(self, folder: Path, loader: Loader) -> None:
        self.loader = loader
        super().__init__(folder)
        (self.root / "aes.key").unlink()
        self.configure("")
        self.images = {slot: self._image(slot) for slot in "ab"}
        self.before = Tree(
            {
                "rootfs-a.img": FIRST.rootfs,
                "kernel-a.img": FIRST.kernel,
                "rootfs-b.img": SECOND.rootfs,
                "kernel-b.img": SECOND.kernel,
                "data/app.conf": OLD_CONF,
                "sw-versions": OLD_VERSIONS,
                **loader.files(self.root),
            },
            frozenset({"data", "boot", "config0", "config1"}),
        )
        self.before.restore(self.root)

    def options(self, image: Image | None = None) -> list[str]:
        return [
            "-k", str(self.folder / "public.pem"), "-H", "board:1.0", "-f", str(self.folder / "swupdate.cfg"),
            "-s", str(self.root / "sw-versions"), *self.loader.options(self.root),
        ]  # fmt: skip

    chunk_bytes = 0
    """Of the chunk table of the root file system; 0 for none."""

    def _image(self, slot: str) -> Image:
        root = self.root
        rootfs, conf = Member("rootfs.img", NEW.rootfs), Member("app.conf", NEW_CONF)
        table = Member("rootfs.chunks", _table(NEW.rootfs, self.chunk_bytes) if self.chunk_bytes else b"")
        tables: dict[str, str | int | bool] = {"chunk_table": table.name} if self.chunk_bytes else {}
        if tables:
            tables["chunk_table_sha256"] = digest(table.data)
        added, made = Member("added.conf", ADDED), {"atomic_install": True, "create_destination": True}
        kernel = Member("kernel.gz", gzip.compress(NEW.kernel, mtime=0))
        text = described(
            {
                "images": [
                    entry(
                        rootfs,
                        device=f"{root}/rootfs-{slot}.img",
                        name="rootfs",
                        version="2.0",
                        installed_directly=True,
                        **tables,
                    ),
                    entry(kernel, device=f"{root}/kernel-{slot}.img", compressed="zlib"),
                ],
                "files": [
                    entry(conf, path=f"{root}/data/app.conf", atomic_install=True),
                    entry(added, path=f"{root}/data/made/for/added.conf", **made),
                ],
                "bootenv": [
                    f'{{ name = "{name}"; value = "{value}"; }}'
                    for name, value in {"slot": slot, "bootcount": "0", "upgrade_available": "1"}.items()
                ],
            }
        )
        members = [table] if tables else []
        return Image("power", b"070701", signed(text, *members, rootfs, kernel, conf, added))

    def configure(self, more: str) -> None:
        """Write the settings file; ``more`` are keys of our own group."""
        keys = f"{self.loader.settings(self.root)} {more}"
        (self.folder / "swupdate.cfg").write_text(f"globals : {{ }};\nswagent : {{ {keys} }};\n")

    def swagent(self, argv: list[str]) -> Outcome:
        saved = os.environ.get("STATE_DIRECTORY")
        os.environ["STATE_DIRECTORY"] = str(self.root / "state")
        try:
            return super().swagent(argv)
        finally:
            if saved is None:
                del os.environ["STATE_DIRECTORY"]
            else:
                os.environ["STATE_DIRECTORY"] = saved

    def update(self, slot: str, *, pipe: bool = False) -> None:
        """Install the new system into a copy and switch to it; must succeed."""
        image = self.images[slot]
        outcome = self.install(image.raw, image, pipe=pipe)
        assert outcome.code == 0, outcome

    def recorded_update(self, slot: str = "b", *, pipe: bool = False) -> Recorder:
        """As ``update``, recorded."""
        with Recorder(self.root) as recorder:
            self.update(slot, pipe=pipe)
        return recorder

    def wrong(self, tree: Tree, *, installed: str = "") -> str:
        """What is wrong with these files, which the device holds; "" when nothing is.

        Args:
            tree: the files.
            installed: the copy whose update had reported success when power went, "" for none.
        """
        try:
            variables = self.loader.read(self.root)
        except BootEnvError as exc:
            return f"no boot environment: {exc.message}"
        slot = variables.get("slot", "")
        moving = {"slot"} | ({"bootcount"} if variables.get("upgrade_available") == "1" else set())
        lost = {name for name, value in self.loader.variables.items() if variables.get(name) != value}
        if lost - moving or slot not in OTHER:
            return f"the boot environment is not what it should be: {variables}"
        if digests(tree, slot) not in (FIRST.digests, NEW.digests):
            return f"copy {slot} boots and is not complete"
        begun = digests(tree, OTHER[slot]) not in (FIRST.digests, SECOND.digests, NEW.digests)
        if begun and self.loader.marks and "recovery_status" not in variables:
            return f"copy {OTHER[slot]} is half written, and nothing says that an update had begun"
        journal = Journal(str(self.root / "state"), "")
        record = journal.read().last
        if journal.problem:
            return f"the journal is damaged: {journal.problem}"
        if record is None and (begun or slot == "b"):
            return "the journal does not know of an update that has begun"
        for name, old, new in (
            ("data/app.conf", OLD_CONF, NEW_CONF),
            ("sw-versions", OLD_VERSIONS, NEW_VERSIONS),
        ):
            if tree.files.get(name) not in (old, new):
                return f"{name} is neither the old nor the new one"
        if slot == "b" and tree.files["data/app.conf"] != NEW_CONF:
            return "the new system boots with the old app.conf"
        if slot == "b" and tree.files.get("data/made/for/added.conf") != ADDED:
            return "the new system boots without added.conf"
        if installed and slot != installed:
            return "success was reported, and the old copy boots"
        if installed and (tree.files["sw-versions"] != NEW_VERSIONS or "recovery_status" in variables):
            return "success was reported, and is not all there"
        return ""

    def recover(self) -> Tree:
        """Install the update into the copy that does not run, as the next attempt would; what is there afterwards."""
        self.loader.start(self.root)
        slot = OTHER[self.loader.read(self.root)["slot"]]
        self.update(slot)
        variables = self.loader.read(self.root)
        assert variables["slot"] == slot
        assert "recovery_status" not in variables
        tree = read_tree(self.root)
        assert digests(tree, slot) == NEW.digests
        assert tree.files["data/app.conf"] == NEW_CONF
        assert tree.files["sw-versions"] == NEW_VERSIONS
        left = {name for name in tree.files if not name.startswith("state/")} - {
            *self.before.files,
            "data/made/for/added.conf",
        }
        assert not left, f"left behind: {left}"
        return tree


class ChunkedUnit(Unit):
    """Its updates have a chunk table, so that what was cut goes on."""

    chunk_bytes = 64 * 1024
