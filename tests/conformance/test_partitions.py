"""Disks: tables, file systems and boot flags, laid out by SWUpdate and by swagent on copies of one disk image.

Tables are compared as sfdisk tells them, file systems as blkid does, since UUIDs are made up anew each time.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from swagent.hw import mbr
from tests.conftest import KeyRing
from tests.handlers.peers import contents
from tests.programs import need, run_swagent, run_swupdate

from .bench import Bench, Case, entry, section, software

LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
AB = ("label: gpt", "start=2048, size=20480, name=a", "size=4096, name=b")
AB_LINES = ("label: gpt", f'1: start= 2048, size= 20480, type={LINUX}, name="a"',
            f'2: start= 22528, size= 4096, type={LINUX}, name="b"')  # fmt: skip
DOS = ("label: dos", "start=2048, size=2048, type=83, bootable", "start=4096, size=2048, type=83")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One disk.

    Attributes:
        text: the section of sw-description that is about it.
        before: lines for sfdisk, or nothing.
        run: a program that treats it then.
        ok: whether SWUpdate accepts it.
        holds: what there is after SWUpdate, as ``contents`` and the hybrid table tell; None when nothing changed.
        exit: swagent's exit status.
        ours: as ``holds``, for swagent; None when it is the same.
        differs: topic in the compatibility page.
    """

    name: str
    text: str
    before: Sequence[str] = ()
    run: Sequence[str] = ()
    ok: bool = True
    holds: Sequence[str] | None = None
    exit: int = 0
    ours: Sequence[str] | None = None
    differs: str = ""
    quick: bool = False

    @property
    def really_differs(self) -> bool:
        return self.ok != (self.exit == 0) or self.ours is not None


def diskpart(label: str, *parts: Sequence[str], **more: str) -> str:
    properties: dict[str, object] = {"labeltype": label, **more}
    properties |= {f"partition-{number}": list(keys) for number, keys in enumerate(parts, 1)}
    return section("partitions", entry(type="diskpart", device="@ROOT@/disk", properties=properties))


def on_disk(section_name: str, handler: str, **properties: object) -> str:
    named = {key.replace("_", "-"): value for key, value in properties.items()}
    return section(section_name, entry(type=handler, device="@ROOT@/disk", properties=named))


def gpt(*parts: tuple[int, int, str]) -> tuple[str, ...]:
    lines = (
        f"{number}: start= {start}, size= {size}, type={LINUX}" + (f', name="{name}"' if name else "")
        for number, (start, size, name) in enumerate(parts, 1)
    )
    return ("label: gpt", *lines)


def dos(active: int) -> tuple[str, ...]:
    flags = [", bootable" if number == active else "" for number in (1, 2)]
    return (
        "label: dos",
        f"1: start= 2048, size= 2048, type=83{flags[0]}",
        f"2: start= 4096, size= 2048, type=83{flags[1]}",
    )


_SHA_512_ZEROS = "076a27c79e5ace2a3d47f9dd2e83e4ff6ea8872b3c2218f66c92b89b55f36560"

ROWS = [
    Row(
        name="gpt",
        text=diskpart("gpt", ["size=10M", "start=2048", "name=a", f"type={ESP}"], ["size=20M", "name=b"], ["name=c"]),
        holds=("label: gpt", f'1: start= 2048, size= 20480, type={ESP}, name="a"',
               f'2: start= 22528, size= 40960, type={LINUX}, name="b"',
               f'3: start= 63488, size= 65536, type={LINUX}, name="c"'),
        quick=True,
    ),
    Row(
        name="gpt-over-dos",
        text=diskpart("gpt", ["size=10M", "name=a"], ["size=2M", "name=b"]),
        before=DOS,
        holds=AB_LINES,
    ),
    Row(name="as-wanted", text=diskpart("gpt", ["size=10M", "name=a"], ["size=2M", "name=b"]), before=AB),
    Row(
        name="renamed",
        text=diskpart("gpt", ["size=10M", "name=x"], ["size=2M", "name=b"]),
        before=AB,
        holds=gpt((2048, 20480, "x"), (22528, 4096, "b")),
    ),
    Row(
        name="moved-to-the-front",
        text=diskpart("gpt", ["size=10M", "name=a"]),
        before=("label: gpt", "start=4096, size=20480, name=a"),
        holds=gpt((2048, 20480, "a")),
    ),
    Row(
        name="sizes",
        text=diskpart("gpt", ["size=1000000"], ["size=1300K"], ["size=1700K"], ["size=100K"], ["size=700K"]),
        holds=gpt((2048, 1953, ""), (4096, 2048, ""), (6144, 4096, ""), (10240, 200, ""), (12288, 1400, "")),
    ),
    Row(
        name="a-start-in-the-middle",
        text=diskpart("gpt", ["size=10M", "start=100000"], ["size=2M"]),
        holds=gpt((100000, 20832, ""), (2048, 4096, "")),
    ),
    Row(
        name="dos",
        text=diskpart("dos", ["size=10M", "type=0x0C", "flag=boot"], ["size=20M", "type=83"], ["type=83"]),
        holds=("label: dos", "1: start= 2048, size= 20480, type=c, bootable", "2: start= 22528, size= 40960, type=83",
               "3: start= 63488, size= 67584, type=83"),
    ),
    Row(
        name="logical",
        text=section("partitions", entry(type="diskpart", device="@ROOT@/disk", properties={
            "labeltype": "dos", "partition-1": ["size=10M", "type=83"], "partition-4": ["type=5"],
            "partition-5": ["size=5M", "type=83"], "partition-6": ["size=6M", "type=83"]})),
        holds=("label: dos", "1: start= 2048, size= 20480, type=83", "4: start= 22528, size= 108544, type=5",
               "5: start= 24576, size= 10240, type=83", "6: start= 36864, size= 12288, type=83"),
    ),
    Row(
        name="hybrid",
        text=diskpart("gpt", ["size=10M", "name=a", "dostype=0x0C"], ["size=2M", "name=b", "dostype=0x83"]),
        holds=(*AB_LINES, "hybrid: c 2048 20480", "hybrid: 83 22528 4096", "hybrid: ee 1 33"),
    ),
    Row(
        name="overlapping",
        text=diskpart("gpt", ["size=10M"], ["size=10M", "start=10000"]),
        ok=False,
        exit=11,
    ),
    Row(name="no-guid", text=diskpart("gpt", ["size=10M", "type=83"]), ok=False, exit=11),
    Row(name="no-uuid", text=diskpart("gpt", ["size=10M", "partuuid=xyz"]), ok=False, exit=11),
    Row(
        name="dos-without-type",
        text=diskpart("dos", ["size=10M"]),
        holds=("label: dos", "1: start= 2048, size= 20480, type=0"),
        ours=("label: dos", "1: start= 2048, size= 20480, type=83"),
        differs="`diskpart`: DOS partitions without `type`",
    ),
    Row(
        name="descending",
        text=section("partitions", entry(type="diskpart", device="@ROOT@/disk", properties={
            "labeltype": "gpt", "partition-2": ["size=10M"], "partition-1": ["size=2M"]})),
        holds=gpt((22528, 4096, ""), (2048, 20480, "")),
        ours=gpt((2048, 4096, ""), (6144, 20480, "")),
        differs="`diskpart`: order",
    ),
    Row(
        name="too-large",
        text=diskpart("gpt", ["size=100M", "name=a"]),
        holds=gpt((2048, 124928, "a")),
        exit=34,
        ours=(),
        differs="`diskpart`: sizes that do not fit",
    ),
    Row(
        name="misspelt",
        text=diskpart("gpt", ["size=10M", "fstype =ext4"]),
        holds=gpt((2048, 20480, "")),
        exit=11,
        ours=(),
        differs="`diskpart`: unknown keys",
    ),
    Row(name="toggleboot", text=on_disk("scripts", "toggleboot", partition="2"), before=DOS, holds=dos(2)),
    Row(name="gptswap", text=on_disk("scripts", "gptswap", swap_0=["a", "b"]), before=AB,
        holds=gpt((2048, 20480, "b"), (22528, 4096, "a")), quick=True),
    Row(name="gptswap-without-name", text=on_disk("scripts", "gptswap", swap_0=["a", "c"]), before=AB, exit=34,
        differs="`gptswap`"),
    Row(name="gptswap-one-name", text=on_disk("scripts", "gptswap", swap_0=["a"]), before=AB, exit=11,
        differs="`gptswap`"),
    Row(name="diskformat-vfat", text=on_disk("partitions", "diskformat", fstype="vfat"), holds=('disk: TYPE="vfat"',)),
    Row(
        name="diskformat-label",
        text=on_disk("partitions", "diskformat", fstype="vfat", fslabel="DATA"),
        holds=('disk: TYPE="vfat"',),
        ours=('disk: LABEL="DATA" TYPE="vfat"',),
        differs="`fslabel`",
    ),
    Row(
        name="swapped",
        text=diskpart("gpt", ["size=10M", "name=b"], ["size=2M", "name=a"]),
        before=AB,
        holds=gpt((2048, 20480, "b"), (22528, 4096, "a")),
        ours=AB_LINES,
        differs="`diskpart`: swapped names",
    ),
    Row(name="diskformat-ext4", text=on_disk("partitions", "diskformat", fstype="ext4"), holds=('disk: TYPE="ext4"',)),
    Row(name="diskformat-there", text=on_disk("partitions", "diskformat", fstype="ext4"),
        run=("mkfs.ext4", "-q", "-F", "-L", "old")),
    Row(name="diskformat-forced", text=on_disk("partitions", "diskformat", fstype="ext4", force="true"),
        run=("mkfs.ext4", "-q", "-F", "-L", "old"), holds=('disk: TYPE="ext4"',)),
    Row(name="diskformat-unknown", text=on_disk("partitions", "diskformat", fstype="ntfs"), ok=False, exit=11),
    Row(name="readback", text=on_disk("scripts", "readback", sha256=_SHA_512_ZEROS, size="512", offset="4096")),
    Row(name="readback-other", text=on_disk("scripts", "readback", sha256="1" * 64, size="512"), ok=False, exit=41),
]  # fmt: skip


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=[] if row.quick else [pytest.mark.slow]) for row in ROWS]
)
def test_a_disk(row: Row, tmp_path: Path, key_ring: KeyRing) -> None:
    need("sfdisk", "blkid", "mkfs.ext4", "mkfs.vfat")
    assert bool(row.differs) == row.really_differs, "a difference needs its topic, and a topic a difference"
    bench = Bench(tmp_path, key_ring)
    case = Case(name=row.name, description=software(row.text))
    bench.fresh({})
    bench.build(case)
    disk = bench.device / "disk"

    def fresh() -> None:
        bench.fresh({})
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        if row.before:
            subprocess.run(["sfdisk", "--quiet", disk], input="\n".join(row.before).encode(), check=True)
        if row.run:
            subprocess.run([*row.run, disk], check=True)

    fresh()
    before = lines(disk)
    theirs = run_swupdate(bench.words(case), tmp_path, fresh=fresh)
    assert theirs.ok == row.ok, theirs.text
    holds = before if row.holds is None else list(row.holds)
    assert lines(disk) == holds, theirs.text
    fresh()
    ours = run_swagent(bench.words(case), tmp_path)
    assert ours.code == row.exit, ours.text
    assert "Traceback" not in ours.text
    assert lines(disk) == (holds if row.ours is None else list(row.ours)), ours.text


def lines(disk: Path) -> list[str]:
    """What is on a disk, its hybrid DOS table too."""
    with open(disk, "rb") as file:
        entries = [one for one in mbr.read(file.fileno(), str(disk)) if one.kind]
    hybrid = entries if len(entries) > 1 and any(one.kind == mbr.GPT_PROTECTIVE for one in entries) else []
    return [*contents(disk), *(f"hybrid: {one.kind:x} {one.start} {one.size}" for one in hybrid)]
