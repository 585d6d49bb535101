"""Where partitions go: as libfdisk would have it, and never where something else is."""

import itertools
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swagent.errors import DescriptionError, SizeError, SwagentError
from swagent.handlers import layout
from swagent.hw import mbr
from swagent.hw.partitions import Disk, Partition, Table
from tests.programs import need

MIB = 1 << 20
LINUX = layout.LINUX["gpt"]


class Sized(Disk):
    """A disk of which only the size is known."""

    def __init__(self, size_bytes: int, sector_bytes: int = 512) -> None:
        self.path = "disk"
        self.sector_bytes = sector_bytes
        self.size_sectors = size_bytes // sector_bytes


def resolved(label: str, *parts: list[str], disk: Disk | None = None, old: Table | None = None) -> Table:
    wanted = layout.read({number: tuple(keys) for number, keys in enumerate(parts, 1)}, label)
    return layout.resolve(wanted, label, disk or Sized(64 * MIB), old or Table())


def places(table: Table) -> list[tuple[int, int]]:
    return [(part.start, part.size) for part in table.partitions]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (["1000000", "1300K", "1700K", "100K", "700K"],
         [(2048, 1953), (4096, 2048), (6144, 4096), (10240, 200), (12288, 1400)]),
        (["10M", "20M"], [(2048, 20480), (22528, 40960)]),
        (["0x15555F"], [(2048, 2730)]),
    ],
)  # fmt: skip
def test_sizes_are_rounded_as_libfdisk_does(sizes: list[str], expected: list[tuple[int, int]]) -> None:
    """Seen with SWUpdate 2022.12."""
    assert places(resolved("gpt", *([f"size={size}"] for size in sizes))) == expected


def test_the_rest_of_a_disk_ends_on_a_mebibyte() -> None:
    assert places(resolved("gpt", ["size=10M"], [])) == [(2048, 20480), (22528, 106496)]
    assert places(resolved("dos", ["size=10M"], [])) == [(2048, 20480), (22528, 108544)]


def test_a_gap_before_a_given_start_is_used_when_it_is_the_largest() -> None:
    table = resolved("gpt", ["start=100000", "size=1M"], ["size=1M"])
    assert places(table) == [(100000, 2048), (2048, 2048)]


def test_large_sectors() -> None:
    table = resolved("gpt", ["size=1M"], [], disk=Sized(64 * MIB, 4096))
    assert places(table) == [(256, 256), (512, 15616)]


def test_what_is_there_and_not_named_stays() -> None:
    old = Table("gpt", "DISK", (Partition(1, 1, 1, LINUX, "x", "UUID-1", attributes="GUID:63"),))
    table = resolved("gpt", ["size=1M", "name=a"], ["size=1M"], old=old)
    assert table.id == "DISK"
    assert [(part.uuid, part.attributes) for part in table.partitions] == [("UUID-1", "GUID:63"), ("", "")]
    assert resolved("dos", ["size=1M"], old=old).id == ""


def test_names_that_were_swapped_stay_so() -> None:
    """Else the copy that runs would get the name of the one to write."""
    swapped = Table("gpt", "", (Partition(1, 2048, 2048, LINUX, "b"), Partition(2, 4096, 2048, LINUX, "a")))
    table = resolved("gpt", ["size=1M", "name=a"], ["size=1M", "name=b"], old=swapped)
    assert table.partitions == swapped.partitions
    table = resolved("gpt", ["size=1M", "name=a"], ["size=1M", "name=b"], ["name=c"], old=swapped)
    assert [part.name for part in table.partitions] == ["b", "a", "c"]
    table = resolved("gpt", ["size=1M", "name=a"], ["size=1M", "name=c"], old=swapped)
    assert [part.name for part in table.partitions] == ["a", "c"]


def test_a_hybrid_table() -> None:
    table = resolved("gpt", ["size=1M"], ["size=1M", "dostype=0x0C"])
    assert table.hybrid == (mbr.Entry(0x0C, 4096, 2048), mbr.Entry(0xEE, 1, 33))


@pytest.mark.parametrize(
    ("label", "parts", "text"),
    [
        ("bsd", [[]], "labeltype is 'bsd'"),
        ("gpt", [["colour=red"]], "there is no such key"),
        ("gpt", [["size =1M"]], "there is no such key"),
        ("gpt", [["size"]], "no key=value"),
        ("gpt", [["size=1T"]], "is not a number"),
        ("gpt", [["size=0"]], "it is 0"),
        ("gpt", [["name=" + "n" * 37]], "at most 36"),
        ("gpt", [['name=a"b']], "without quotes"),
        ("gpt", [["type=83"]], "no GUID"),
        ("dos", [["type=" + LINUX]], "no type of a DOS"),
        ("dos", [["type=0"]], "no type of a DOS"),
        ("gpt", [["partuuid=1"]], "no UUID"),
        ("gpt", [["flag=boot"]], "only dos"),
        ("dos", [["flag=esp"]], "only flag"),
        ("dos", [["name=a"]], "only gpt"),
        ("dos", [["flag=boot"], ["flag=boot"]], "only one partition"),
        ("gpt", [["size=1M", "dostype=83"]] * 4, "only 3 partitions"),
        ("gpt", [["size=1M", "name=a"], ["name=a"]], "the same name"),
        ("gpt", [["force=true"]], "force without fstype"),
        ("gpt", [["fstype=ext4", "force=yes"]], "true or false"),
        ("gpt", [["size=1M", "start=4096"], ["size=1M", "start=5000"]], "is not free"),
        ("dos", [["size=1M"]] * 5, "need an extended one"),
    ],
)
def test_what_is_refused(label: str, parts: list[list[str]], text: str) -> None:
    with pytest.raises(DescriptionError, match=text):
        resolved(label, *parts)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 129)])
def test_numbers_that_a_table_does_not_have(numbers: tuple[int, ...]) -> None:
    with pytest.raises(DescriptionError, match="partition-1 to partition-128"):
        layout.read(dict.fromkeys(numbers, ("size=1M",)), "gpt")


@pytest.mark.parametrize("parts", [[["size=64M"]], [["size=60M"], ["size=4M"]], [[], ["size=1M"]]])
def test_what_does_not_fit(parts: list[list[str]]) -> None:
    with pytest.raises(SizeError, match="bytes left for partition-"):
        resolved("gpt", *parts)


SIZES = st.one_of(
    st.just(""), st.integers(1, 30).map(lambda n: f"size={n}M"), st.integers(1, 9000).map(lambda n: f"size={n}K"),
    st.integers(512, 9_000_000).map(lambda n: f"size={n}"),
)  # fmt: skip
PARTS = st.lists(
    st.tuples(SIZES, st.one_of(st.just(""), st.integers(34, 131_000).map(lambda n: f"start={n}"))),
    min_size=1,
    max_size=6,
)


@given(PARTS, st.sampled_from(["gpt", "dos"]))
@settings(max_examples=80)
def test_partitions_never_overlap(parts: list[tuple[str, str]], label: str) -> None:
    try:
        table = resolved(
            label, *([key for key in keys if key] for keys in parts[: 4 if label == "dos" else 6])
        )
    except SwagentError:
        return
    taken = sorted(places(table))
    assert all(start + size <= after for (start, size), (after, _) in itertools.pairwise(taken))
    assert all(size > 0 for _, size in taken)
    assert taken[0][0] >= 34
    assert sum(taken[-1]) <= 131072 - (33 if label == "gpt" else 0)


@given(PARTS)
@settings(max_examples=6)
def test_sfdisk_agrees(tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, str]]) -> None:
    """What fits here is what libfdisk makes of the same sizes, written in its words."""
    need("sfdisk")
    try:
        table = resolved("gpt", *([size] if size else [] for size, _ in parts))
    except SizeError:
        return
    path = tmp_path_factory.mktemp("disk") / "disk"
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
    script = "label: gpt\n" + "".join(f"{_in_their_words(size)}\n" for size, _ in parts)
    subprocess.run(["sfdisk", "--quiet", path], input=script.encode(), check=True)
    assert places(Disk(str(path), lambda level, message: None).table()) == places(table)


def _in_their_words(size: str) -> Any:
    if not size:
        return f"type={LINUX}"
    return f"size={size[5:]}iB" if size[-1] in "KM" else f"size={int(size[5:]) // 512}"
