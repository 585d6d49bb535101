"""What the running system sits on: with a sysfs of our own, and with real loop devices."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swagent.errors import PreflightRefused
from swagent.hw import Hardware
from swagent.hw.block import open_image_target
from swagent.hw.identity import RunningSystem

MIB = 1 << 20


class Fake:
    """Mountinfo, command line and sysfs as text; disks are folders with partitions in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/dev/block").mkdir(parents=True)
        (root / "mountinfo").write_text("")
        (root / "cmdline").write_text("quiet\n")

    def disk(self, number: str, name: str, parts: dict[str, str] | None = None) -> None:
        folder = self.root / "sys/devices" / name
        folder.mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        (self.root / "sys/dev/block" / number).symlink_to(folder)
        for part, part_name in (parts or {}).items():
            (folder / part_name).mkdir()
            (folder / part_name / "dev").write_text(f"{part}\n")
            (folder / part_name / "partition").write_text("1\n")
            (self.root / "sys/dev/block" / part).symlink_to(folder / part_name)

    def mapped(self, upper: str, lower: str) -> None:
        slaves = self.root / "sys/dev/block" / upper / "slaves"
        slaves.mkdir(exist_ok=True)
        (slaves / lower.replace(":", "_")).symlink_to(self.root / "sys/dev/block" / lower)

    def behind(self, loop: str, file: Path) -> None:
        folder = self.root / "sys/dev/block" / loop / "loop"
        folder.mkdir()
        (folder / "backing_file").write_text(f"{file}\n")

    def mount(self, number: str, point: str, source: str = "none") -> None:
        with (self.root / "mountinfo").open("a") as lines:
            lines.write(f"24 1 {number} / {point} rw,relatime shared:1 - ext4 {source} rw\n")

    def system(self) -> RunningSystem:
        return RunningSystem(
            mountinfo=str(self.root / "mountinfo"),
            cmdline=str(self.root / "cmdline"),
            sysfs=str(self.root / "sys"),
            dev=str(self.root / "dev"),
        )

    def node(self, name: str, number: str) -> str:
        """A block device node; nothing opens it."""
        path = self.root / name
        major, minor = map(int, number.split(":"))
        try:
            os.mknod(path, 0o60600, os.makedev(major, minor))
        except PermissionError:
            pytest.skip("needs root to make device nodes")
        return str(path)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    made = Fake(tmp_path)
    made.disk("179:0", "mmcblk0", {"179:1": "mmcblk0p1", "179:2": "mmcblk0p2", "179:3": "mmcblk0p3"})
    made.disk("179:32", "mmcblk1")
    return made


def test_the_root_device_and_what_overlaps_it(fake: Fake) -> None:
    fake.mount("179:2", "/")
    system = fake.system()
    assert system.root() == "179:2"
    root, disk = fake.node("p2", "179:2"), fake.node("disk", "179:0")
    assert system.overlap(root) == f"{root} holds the running system"
    assert system.overlap(disk) == f"{disk} overlaps /dev/mmcblk0p2, which holds the running system"
    for name, number in (("p3", "179:3"), ("other", "179:32")):
        assert system.overlap(fake.node(name, number)) == ""
    assert [system.runs_from(str(fake.root / name)) for name in ("p2", "disk", "p3", "other", "no")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_two_that_share_storage(fake: Fake, tmp_path: Path) -> None:
    fake.disk("254:0", "dm-0")
    fake.mapped("254:0", "179:2")
    behind, apart = tmp_path / "image", tmp_path / "apart"
    behind.write_bytes(b"")
    apart.write_bytes(b"")
    fake.disk("7:0", "loop0")
    fake.behind("7:0", behind)
    (tmp_path / "link").symlink_to(behind)
    paths = {
        name: fake.node(name, number)
        for name, number in (
            ("disk", "179:0"),
            ("p2", "179:2"),
            ("p3", "179:3"),
            ("map", "254:0"),
            ("loop", "7:0"),
        )
    } | {
        "file": str(behind),
        "link": str(tmp_path / "link"),
        "apart": str(apart),
        "none": str(tmp_path / "none"),
    }
    together = {
        ("disk", "p2"),
        ("disk", "p3"),
        ("disk", "map"),
        ("map", "p2"),
        ("file", "loop"),
        ("file", "link"),
    }
    together |= {("link", "loop")}
    for one in paths:
        for other in paths:
            expected = (one == other != "none") or (one, other) in together or (other, one) in together
            assert fake.system().share(paths[one], paths[other]) == expected, (one, other)


def test_partitions_of_a_disk_that_is_the_root(fake: Fake) -> None:
    fake.mount("179:0", "/")
    assert "running system" in fake.system().overlap(fake.node("p3", "179:3"))


def test_of_two_mounts_on_the_root_the_last_counts(fake: Fake) -> None:
    fake.mount("179:1", "/")
    fake.mount("179:2", "/")
    assert fake.system().root() == "179:2"


def test_anything_mounted_is_named(fake: Fake) -> None:
    fake.mount("179:2", "/")
    fake.mount("179:3", "/mnt/my\\040data")
    part = fake.node("p3", "179:3")
    assert fake.system().overlap(part) == f"{part} is mounted on /mnt/my data"


def test_a_disk_around_something_mounted(fake: Fake) -> None:
    fake.mount("179:32", "/")
    fake.mount("179:3", "/data")
    disk = fake.node("disk", "179:0")
    assert fake.system().overlap(disk) == f"{disk} overlaps /dev/mmcblk0p3, which is mounted on /data"
    assert not fake.system().runs_from(disk)


def test_below_a_mapped_root(fake: Fake) -> None:
    fake.disk("254:0", "dm-0")
    fake.disk("254:1", "dm-1")
    fake.mapped("254:0", "179:2")
    fake.mapped("254:1", "179:2")
    fake.mount("254:0", "/")
    system = fake.system()
    for name, number in (("verity", "254:0"), ("p2", "179:2"), ("disk", "179:0")):
        assert "running system" in system.overlap(fake.node(name, number)), name
    # another volume of the same group is the other copy
    assert system.overlap(fake.node("volume", "254:1")) == ""
    assert system.overlap(fake.node("p3", "179:3")) == ""


def test_a_map_onto_the_root(fake: Fake) -> None:
    fake.disk("254:0", "dm-0")
    fake.mapped("254:0", "179:2")
    fake.mount("179:2", "/")
    assert "running system" in fake.system().overlap(fake.node("map", "254:0"))


def test_a_map_onto_itself_ends(fake: Fake) -> None:
    fake.disk("254:0", "dm-0")
    fake.mapped("254:0", "254:0")
    fake.mount("254:0", "/")
    assert fake.system().overlap(fake.node("p3", "179:3")) == ""


def test_the_file_behind_the_root(fake: Fake, tmp_path: Path) -> None:
    file, other = tmp_path / "rootfs.img", tmp_path / "other.img"
    file.write_bytes(b"x")
    other.write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(file)
    fake.disk("7:0", "loop0", {"259:0": "loop0p1"})
    fake.behind("7:0", file)
    fake.mount("259:0", "/")
    system = fake.system()
    for path in (file, link):
        assert (
            system.overlap(str(path))
            == f"{path} is the file behind /dev/loop0p1, which holds the running system"
        )
        assert system.runs_from(str(path))
    assert system.overlap(str(other)) == ""
    assert not system.runs_from(str(other))


def test_where_mountinfo_does_not_tell(fake: Fake) -> None:
    fake.mount("0:25", "/", "overlay")
    assert fake.system().root() == ""
    node = fake.node("p2", "179:2")
    (fake.root / "cmdline").write_text(f"root=/dev/none console=x root={node} ro\n")
    assert fake.system().root() == "179:2"
    by_partuuid = fake.root / "dev/disk/by-partuuid"
    by_partuuid.mkdir(parents=True)
    (by_partuuid / "0815-02").symlink_to(node)
    (fake.root / "cmdline").write_text("root=PARTUUID=0815-02\n")
    assert fake.system().root() == "179:2"
    (fake.root / "cmdline").write_text("root=PARTUUID=0815-03\n")
    assert fake.system().root() == ""
    assert fake.system().overlap(node) == ""


def test_a_file_system_over_several_devices_names_one(fake: Fake) -> None:
    fake.mount("0:30", "/", fake.node("btrfs", "179:3"))
    assert fake.system().root() == "179:3"


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    system = RunningSystem(mountinfo=missing, cmdline=missing, sysfs=missing, dev=missing)
    assert system.root() == ""
    assert system.overlap(str(tmp_path)) == ""
    (tmp_path / "mountinfo").write_bytes(b"\xff\n1 2 3 - \n1 2 3 4 5 6 7 8 -\n1 2 3 4 5 6 7 - 9 -\n\n")
    strange = RunningSystem(
        mountinfo=str(tmp_path / "mountinfo"), cmdline=missing, sysfs=missing, dev=missing
    )
    assert strange.root() == ""


# -- with the kernel's own


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A file with an ext4 and the loop device on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a loop device")
    image = tmp_path / "slot.img"
    with image.open("wb") as file:
        file.truncate(8 * MIB)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"needs loop devices: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield image, device
    subprocess.run(["losetup", "-d", device], check=True)


def test_a_mounted_file_and_its_device_are_not_written(slot: tuple[Path, str], tmp_path: Path) -> None:
    image, device = slot
    hw = Hardware(str(tmp_path))
    assert (hw.in_use(str(image)), hw.in_use(device)) == ("", "")
    with hw.mounted(device, "ext4") as folder:
        assert hw.in_use(device) == f"{device} is mounted on {folder}"
        assert hw.in_use(str(image)) == f"{image} is the file behind {device}, which is mounted on {folder}"
        with pytest.raises(PreflightRefused, match="is the file behind"):
            open_image_target(str(image))
        open_image_target(str(image), allow_mounted=True).abandon()
    assert hw.in_use(str(image)) == ""
    open_image_target(str(image)).abandon()


def test_a_system_that_runs_from_a_real_loop_device(slot: tuple[Path, str], tmp_path: Path) -> None:
    image, device = slot
    number = os.stat(device).st_rdev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"24 1 {os.major(number)}:{os.minor(number)} / / rw - ext4 {device} rw\n")
    system = RunningSystem(mountinfo=str(mountinfo), cmdline=os.devnull)
    assert system.overlap(device) == f"{device} holds the running system"
    assert (
        system.overlap(str(image)) == f"{image} is the file behind {device}, which holds the running system"
    )


def test_this_system_has_its_root_protected() -> None:
    system = RunningSystem()
    number = system.root()
    name = os.path.basename(os.path.realpath(f"/sys/dev/block/{number}")) if number else ""
    if not name or not os.path.exists(f"/dev/{name}"):
        pytest.skip("needs a root file system on a block device that has a node")
    assert "running system" in system.overlap(f"/dev/{name}")
