"""Partitions, file systems, subvolumes and boot partitions as a real kernel has them."""

import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from swagent.cli.main import main
from swagent.errors import DeviceError, PreflightRefused
from swagent.hw import Hardware, btrfs, filesystem
from swagent.hw.emmc import Emmc
from swagent.hw.partitions import Disk
from swagent.model import Artifact, Kind, Phase
from swagent.testing import FakeContext, FakeData, install, run_script
from tests.faults.images import CRC, DESCRIPTION, Member, archive, described, entry, noise

MIB = 1 << 20
AB = (
    ("size=32M", "name=boot", "fstype=vfat", "fslabel=BOOT"),
    ("size=32M", "name=rootfs-a"),
    ("size=32M", "name=rootfs-b"),
    ("name=data",),
)


def silent(level: str, message: str) -> None:
    """For what programs say."""


def table(disk: str) -> dict[str, Any]:
    """What sfdisk reads."""
    done = subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True)
    return dict(json.loads(done.stdout)["partitiontable"])


def names(disk: str) -> list[str]:
    return [part["name"] for part in table(disk)["partitions"]]


def layout(disk: str, *partitions: tuple[str, ...], label: str = "gpt", **more: str) -> Artifact:
    properties: dict[str, tuple[str, ...]] = {"labeltype": (label,)}
    properties |= {name: (value,) for name, value in more.items()}
    properties |= {f"partition-{number}": keys for number, keys in enumerate(partitions, 1)}
    return Artifact(Kind.PARTITION, "diskpart", device=disk, properties=properties)


def context(folder: Path) -> FakeContext:
    return FakeContext(str(folder), hw=Hardware(str(folder)))


def apply(art: Artifact, folder: Path) -> FakeContext:
    ctx = context(folder)
    install(art, FakeData(b""), ctx)
    return ctx


@pytest.fixture(autouse=True)
def _blank(request: pytest.FixtureRequest) -> None:
    """No test finds what another one left on a disk."""
    for name in ("disk", "sd"):
        if name in request.fixturenames:
            subprocess.run(
                ["wipefs", "--all", "--quiet", "--force", request.getfixturevalue(name)], check=True
            )
            subprocess.run(
                ["partx", "--delete", request.getfixturevalue(name)], check=False, capture_output=True
            )


@contextmanager
def mounted(device: str, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", device, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


# -- tables


def test_a_gpt_and_what_the_kernel_makes_of_it(disk: str, tmp_path: Path) -> None:
    apply(layout(disk, *AB), tmp_path)
    assert table(disk)["label"] == "gpt"
    assert names(disk) == ["boot", "rootfs-a", "rootfs-b", "data"]
    assert Path(f"/sys/class/block/{Path(disk).name}2/size").read_text().strip() == str(32 * MIB // 512)
    assert filesystem.probe(f"{disk}1", silent)[:2] == ("vfat", "BOOT")
    subprocess.run(["fsck.vfat", "-n", f"{disk}1"], check=True)
    subprocess.run(["sgdisk", "--verify", disk], check=True)
    before = table(disk)
    ctx = apply(layout(disk, *AB), tmp_path)
    assert table(disk) == before
    assert ("info", f"{disk} is divided as wanted") in ctx.logged


def test_a_dos_table_on_a_card_and_its_boot_flag(sd: str, tmp_path: Path) -> None:
    apply(layout(sd, ("size=8M", "type=c", "flag=boot"), ("type=83",), label="dos"), tmp_path)
    assert [part.get("bootable", False) for part in table(sd)["partitions"]] == [True, False]
    assert Path(f"{sd}p2").is_block_device()
    toggle = Artifact(Kind.SCRIPT, "toggleboot", device=sd, properties={"partition": ("2",)})
    run_script(toggle, list(Phase)[:2], context(tmp_path))
    assert [part.get("bootable", False) for part in table(sd)["partitions"]] == [False, True]


def test_a_disk_in_use_is_left_alone(disk: str, tmp_path: Path) -> None:
    apply(layout(disk, *AB), tmp_path)
    with mounted(f"{disk}1", tmp_path / "mnt"):
        before = table(disk)
        with pytest.raises(PreflightRefused, match="is mounted on"):
            apply(layout(disk, ("size=8M",)), tmp_path)
        assert table(disk) == before
        apply(layout(disk, *AB), tmp_path)  # as it is already

        smaller = (*AB[:3], ("size=16M", "name=data"))
        apply(layout(disk, *smaller, noinuse="true"), tmp_path)
        assert Path(f"/sys/class/block/{Path(disk).name}4/size").read_text().strip() == str(16 * MIB // 512)
        assert filesystem.probe(f"{disk}1", silent).label == "BOOT"


def test_a_partition_in_use_that_changes_waits_for_the_boot(disk: str, tmp_path: Path) -> None:
    apply(layout(disk, *AB), tmp_path)
    with mounted(f"{disk}1", tmp_path / "mnt"):
        ctx = apply(layout(disk, ("size=16M", "name=boot"), noinuse="true"), tmp_path)
        assert ("warn", f"partition 1 of {disk} is in use; it changes with the next boot") in ctx.logged
        with pytest.raises(DeviceError, match="is in use as it was before"):
            apply(layout(disk, ("size=20M", "name=boot", "fstype=ext4"), noinuse="true"), tmp_path)
        assert filesystem.probe(f"{disk}1", silent).label == "BOOT"


def test_names_are_swapped_while_the_disk_is_in_use(disk: str, tmp_path: Path) -> None:
    apply(layout(disk, *AB), tmp_path)
    swap = Artifact(Kind.SCRIPT, "gptswap", device=disk, properties={"swap-0": ("rootfs-a", "rootfs-b")})
    with mounted(f"{disk}1", tmp_path / "mnt"):
        run_script(swap, list(Phase)[:2], context(tmp_path))
    assert names(disk) == ["boot", "rootfs-b", "rootfs-a", "data"]
    subprocess.run(["sgdisk", "--verify", disk], check=True)


def test_an_image_by_name_from_an_offset_read_back(disk: str, tmp_path: Path) -> None:
    apply(layout(disk, *AB), tmp_path)
    data = noise(MIB + 100)
    by_name = Artifact(
        Kind.IMAGE,
        "gptpart",
        filename="rootfs.img",
        device=disk,
        volume="rootfs-a",
        offset_bytes=4096,
        properties={"verify-write": ("true",)},
    )
    install(by_name, FakeData(data), context(tmp_path))
    with open(f"{disk}2", "rb") as partition:
        partition.seek(4096)
        assert partition.read(len(data)) == data
    with (
        mounted(f"{disk}1", tmp_path / "mnt"),
        pytest.raises(PreflightRefused, match="is mounted on"),
    ):
        install(by_name._replace(volume="boot"), FakeData(data), context(tmp_path))


# -- a whole update


def update(disk: str, data: bytes, *, sha256: str = "") -> bytes:
    """Divide, format, write by name, swap names."""
    image, digest = Member("rootfs.img", data), hashlib.sha256(data).hexdigest()
    written = entry(image, type="gptpart", device=disk, volume="rootfs-b", installed_directly=True)
    parts = " ".join(f"partition-{number} = {json.dumps(keys)};" for number, keys in enumerate(AB, 1))
    text = described(
        {
            "partitions": [
                f'{{ type = "diskpart"; device = "{disk}"; properties = {{ labeltype = "gpt"; {parts} }}; }}',
                f'{{ type = "diskformat"; device = "{disk}4"; '
                'properties = { fstype = "ext4"; fslabel = "data"; }; }',
            ],
            "images": [written.replace(digest, sha256) if sha256 else written],
            "scripts": [
                f'{{ type = "gptswap"; device = "{disk}"; properties = {{ swap-0 = [ "rootfs-a", "rootfs-b" ]; }}; }}'
            ],
        }
    )
    return archive((Member(DESCRIPTION, text), image), CRC)


def swagent(raw: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Install in this process: exit status, and all that was said."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", mkdtemp(dir=folder))  # its lock is kept until the process ends
    path = folder / "update.swu"
    path.write_bytes(raw)
    words = [
        "-i",
        str(path),
        "--allow-unsigned",
        "-H",
        "board:1.0",
        "-B",
        "none",
        "--state-directory",
        "none",
    ]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = main(words)
    return code, said.getvalue()


def test_a_whole_update(disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(2 * MIB + 777)
    code, said = swagent(update(disk, data), tmp_path, monkeypatch)
    assert code == 0, said
    assert names(disk) == ["boot", "rootfs-b", "rootfs-a", "data"]
    with open(f"{disk}3", "rb") as partition:
        assert partition.read(len(data)) == data
    assert filesystem.probe(f"{disk}4", silent)[:2] == ("ext4", "data")
    subprocess.run(["e2fsck", "-fn", f"{disk}4"], check=True)

    # again, now onto the other copy, with what does not change left alone, and the names where they were put
    with mounted(f"{disk}4", tmp_path / "mnt") as mount:
        (mount / "kept").write_text("settings")
    code, said = swagent(update(disk, data[::-1]), tmp_path, monkeypatch)
    assert code == 0, said
    assert names(disk) == ["boot", "rootfs-a", "rootfs-b", "data"]
    for number, held in ((2, data[::-1]), (3, data)):
        with open(f"{disk}{number}", "rb") as partition:
            assert partition.read(len(data)) == held


def test_an_update_that_fails_at_its_end_swaps_nothing(
    disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(layout(disk, *AB), tmp_path)
    code, said = swagent(update(disk, noise(MIB), sha256="00" * 31 + "01"), tmp_path, monkeypatch)
    assert code == 21, said
    assert names(disk) == ["boot", "rootfs-a", "rootfs-b", "data"]


# -- file systems


def test_a_twin_is_refused(disk: str, tmp_path: Path) -> None:
    uuid = "7b1c9b1e-3f44-4a55-9d2f-9f6f6d1d9a01"
    guard = Artifact(Kind.PARTITION, "uniqueuuid", properties={"fs-uuid": (uuid,)})
    apply(guard, tmp_path)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-U", uuid, disk, "8m"], check=True)
    with pytest.raises(PreflightRefused, match=disk):
        apply(guard, tmp_path)


def test_subvolumes(disk: str, tmp_path: Path) -> None:
    apply(Artifact(Kind.PARTITION, "diskformat", device=disk, properties={"fstype": ("btrfs",)}), tmp_path)

    def subvolume(command: str, path: str) -> None:
        properties = {"command": (command,), "path": (path,), "mount": ("true",)}
        apply(Artifact(Kind.PARTITION, "btrfs", device=disk, properties=properties), tmp_path)

    subvolume("create", "/a")
    subvolume("create", "/a/nested")
    subvolume("create", "/a")
    with mounted(disk, tmp_path / "mnt") as mount:
        (mount / "a" / "nested" / "folder").mkdir()
        btrfs.create(str(mount / "a" / "nested" / "folder" / "inner"))
        listed = subprocess.run(
            ["btrfs", "subvolume", "list", mount], capture_output=True, text=True, check=True
        )
        assert len(listed.stdout.splitlines()) == 3
    subvolume("delete", "/a")
    subvolume("delete", "/a")
    with mounted(disk, tmp_path / "mnt") as mount:
        assert list(mount.iterdir()) == []
        assert not subprocess.run(
            ["btrfs", "subvolume", "list", mount], capture_output=True, check=True
        ).stdout


# -- eMMC


def test_which_boot_partition_boots(emmc: str, tmp_path: Path) -> None:
    selector = Emmc(emmc)
    for number in (0, 1):
        boot = Artifact(Kind.SCRIPT, "emmc_boot", device=f"{emmc}boot{number}")
        run_script(boot, [Phase.PREINSTALL, Phase.POSTFAILURE], context(tmp_path))
        run_script(boot, [Phase.POSTINSTALL], context(tmp_path))
        assert selector.boot_partition() == number
    toggle = Artifact(Kind.SCRIPT, "emmc_boot_toggle", device=emmc)
    run_script(toggle, [Phase.PREINSTALL, Phase.POSTFAILURE], context(tmp_path))
    assert selector.boot_partition() == 1
    run_script(toggle, [Phase.POSTINSTALL], context(tmp_path))
    assert selector.boot_partition() == 0


def test_an_image_into_a_boot_partition(emmc: str, tmp_path: Path) -> None:
    switch = Path(f"/sys/class/block/{Path(emmc).name}boot1/force_ro")
    assert switch.read_text().strip() == "1"
    data = noise(70_000)
    raw = Artifact(Kind.IMAGE, "raw", filename="boot.bin", device=f"{emmc}boot1")
    install(raw, FakeData(data), context(tmp_path))
    assert switch.read_text().strip() == "1"
    with open(f"{emmc}boot1", "rb") as partition:
        assert partition.read(len(data)) == data


def test_a_card_is_no_emmc(sd: str, tmp_path: Path) -> None:
    with pytest.raises(PreflightRefused, match=r"EXT_CSD|boots from no partition"):
        run_script(Artifact(Kind.SCRIPT, "emmc_boot_toggle", device=sd), [], context(tmp_path))


def test_a_disk_that_cannot_be_written(disk: str, tmp_path: Path) -> None:
    subprocess.run(["blockdev", "--setro", disk], check=True)
    try:
        with pytest.raises(DeviceError):
            apply(layout(disk, *AB), tmp_path)
    finally:
        subprocess.run(["blockdev", "--setrw", disk], check=True)
    assert Disk(disk, silent).table().label == ""
