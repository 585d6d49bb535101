"""ubivol, ubipartition and ubiswap where the golden cases cannot go: cuts, devices that lie, what is attached when."""

from pathlib import Path

import pytest

from swagent.errors import DeviceError, HashError, PreflightRefused
from swagent.handlers.ubilayout import UbiPartition, UbiSwap
from swagent.handlers.ubivol import UbiVolume
from swagent.model import Artifact, Compression, Kind, Phase
from swagent.testing import FakeContext, FakeData, FakeFlash, FakeHardware, FakeUbi, install, run_script

NEW = bytes(range(256)) * 30


class Cut(BaseException):
    """The power is gone."""


def entry(volume: str = "b", **properties: str) -> Artifact:
    listed = {key.replace("_", "-"): (value,) for key, value in properties.items()}
    return Artifact(
        Kind.IMAGE,
        "ubivol",
        filename="image",
        volume=volume,
        device="mtd4",
        size_bytes=len(NEW),
        properties=listed,
    )


def partition(volume: str, size_bytes: int, device: str = "mtd4") -> Artifact:
    return Artifact(
        Kind.PARTITION, "ubipartition", name=volume, volume=volume, device=device, size_bytes=size_bytes
    )


def context(ubi: FakeUbi, folder: Path, *partitions: Artifact) -> FakeContext:
    held = FakeFlash()
    held.content[:4] = b"UBI#"
    hw = FakeHardware(flashes={3: FakeFlash(), 4: held}, mtd_names={"kernel": 3, "system": 4}, ubi=ubi)
    return FakeContext(str(folder), hw=hw, partitions=partitions)


def two_volumes() -> FakeUbi:
    ubi = FakeUbi()
    ubi.put("a", b"old", lebs=2)
    ubi.put("b", b"older", lebs=2)
    return ubi


@pytest.mark.parametrize("resize", [False, True])
def test_the_old_volume_outlives_every_cut(resize: bool, tmp_path: Path) -> None:
    art = entry(replaces="a", **({"auto_resize": "true", "always_remove": "true"} if resize else {}))
    whole = two_volumes()
    install(art, FakeData(NEW, chunk_bytes=1000), context(whole, tmp_path))
    assert len(whole.log) > 8
    for cut_at in range(len(whole.log)):
        ubi = two_volumes()

        def cut(what: str, ubi: FakeUbi = ubi, cut_at: int = cut_at) -> None:
            if len(ubi.log) == cut_at:
                raise Cut

        ubi.before_change = cut
        with pytest.raises(Cut):
            install(art, FakeData(NEW, chunk_bytes=1000), context(ubi, tmp_path))
        assert ubi.log == whole.log[:cut_at]
        assert ubi.holds("a") == b"old" and not ubi.facts("a").interrupted
        if "b" in ubi.names():
            whole_or_marked = ubi.facts("b").interrupted or ubi.holds("b") in (
                b"older",
                b"",
                NEW.rstrip(b"\xff"),
            )
            assert whole_or_marked
        ubi.before_change = None  # the power is back
        install(art, FakeData(NEW), context(ubi, tmp_path))
        assert ubi.holds("a") == NEW.rstrip(b"\xff")


def test_a_forged_end_leaves_the_mark(tmp_path: Path) -> None:
    ubi = two_volumes()
    with pytest.raises(HashError):
        install(entry(replaces="a"), FakeData(NEW, verdict=HashError("forged")), context(ubi, tmp_path))
    assert ubi.facts("b").interrupted
    assert ubi.names() == {"a": 0, "b": 1}


def test_what_reads_back_differently_is_marked_and_not_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ubi = two_volumes()

    def forget(what: str) -> None:
        ubi.forgetful = "b"

    ubi.before_change = forget
    with pytest.raises(DeviceError, match="reads back differently"):
        install(entry(replaces="a"), FakeData(NEW), context(ubi, tmp_path))
    assert ubi.facts("b").interrupted
    assert ubi.names() == {"a": 0, "b": 1}
    install(entry(verify_write="false"), FakeData(NEW), context(ubi, tmp_path))
    assert not ubi.facts("b").interrupted


def test_sizes_that_must_be_known(tmp_path: Path) -> None:
    ctx = context(two_volumes(), tmp_path)
    with pytest.raises(PreflightRefused, match="how large"):
        UbiVolume().preflight(entry()._replace(compression=Compression.ZSTD), UbiVolume.Options(), ctx)
    with pytest.raises(Exception, match="how large"):
        install(entry(), FakeData(NEW, size_bytes=None), ctx)


@pytest.mark.parametrize(
    ("art", "text"),
    [
        (entry(replaces="b"), "replace itself"),
        (entry(replaces="x" * 128), "no name"),
        (entry(auto_resize="true")._replace(device=""), "needs the attribute device"),
        (entry(auto_resize="true")._replace(size_bytes=63 * 4096), "can have 253952"),
    ],
)
def test_what_cannot_be_done(art: Artifact, text: str, tmp_path: Path) -> None:
    ubi = two_volumes()
    with pytest.raises(PreflightRefused, match=text):
        install(art, FakeData(NEW), context(ubi, tmp_path))
    assert ubi.log == []


def test_auto_resize(tmp_path: Path) -> None:
    for before_lebs, static, log in (
        (4, False, ["resize b", "update b"]),
        (1, False, ["resize b", "update b"]),
        (1, True, ["remove b", "create b", "update b"]),
        (2, False, ["update b"]),
        (0, False, ["create b", "update b"]),
    ):
        ubi = FakeUbi()
        ubi.put("a", b"x")
        if before_lebs:
            ubi.put("b", b"y", lebs=before_lebs, static=static)
        install(entry(auto_resize="true"), FakeData(NEW), context(ubi, tmp_path))
        assert [line for line in ubi.log if line != "write b"] == log
        assert (ubi.facts("b").id, ubi.facts("b").lebs, ubi.holds("b")) == (1, 2, NEW.rstrip(b"\xff"))


def test_auto_resize_on_an_empty_mtd(tmp_path: Path) -> None:
    ubi = FakeUbi(attached=False, mtd=3)
    ctx = context(ubi, tmp_path)
    art = entry(auto_resize="true", decompressed_size=str(len(NEW)))._replace(
        device="mtd3", size_bytes=10, compression=Compression.ZLIB
    )
    with pytest.raises(PreflightRefused, match="can have 32768"):
        install(
            art._replace(properties={**art.properties, "decompressed-size": ("40000",)}), FakeData(NEW), ctx
        )
    assert ubi.log == []
    install(art, FakeData(NEW), ctx)
    assert ubi.log[:2] == ["attach mtd3", "create b"]
    assert ubi.holds("b") == NEW.rstrip(b"\xff")


def test_volume_in_use(tmp_path: Path) -> None:
    ubi = two_volumes()
    ubi.busy = ["b"]
    for art in (entry(), partition("b", 4096)):
        with pytest.raises(PreflightRefused, match="in use"):
            install(art, FakeData(NEW), context(ubi, tmp_path))
    install(partition("b", 8000), FakeData(b""), context(ubi, tmp_path))  # it is as it should be
    assert ubi.log == []


# -- what is attached when


@pytest.mark.parametrize("device", ["mtd4", "/dev/mtd4", "system", ""])
def test_ubi_is_attached_when_it_is_needed(device: str, tmp_path: Path) -> None:
    ubi = two_volumes()
    ubi.detach(0)
    ctx = context(ubi, tmp_path)
    install(entry()._replace(device=device), FakeData(NEW), ctx)
    assert ubi.log[:3] == ["detach ubi0", "attach mtd4", "update b"]
    assert ("info", "attached mtd4 as ubi0") in ctx.logged
    assert {flash.opened for flash in ctx.hw.flashes.values()} == {0}


def test_an_empty_mtd_is_formatted_only_for_volumes_that_are_made(tmp_path: Path) -> None:
    ubi = FakeUbi(attached=False, mtd=3)
    with pytest.raises(PreflightRefused, match="there is no UBI volume b"):
        install(entry()._replace(device="mtd3"), FakeData(NEW), context(ubi, tmp_path))
    with pytest.raises(PreflightRefused, match="there is no UBI volume b"):
        install(entry()._replace(device=""), FakeData(NEW), context(ubi, tmp_path))
    install(partition("b", 0, "mtd3"), FakeData(b""), context(ubi, tmp_path))
    assert ubi.log == []
    UbiPartition().preflight(partition("b", 9000, "mtd3"), UbiPartition.Options(), context(ubi, tmp_path))
    assert ubi.log == [], "looking changes nothing"
    install(partition("b", 9000, "mtd3"), FakeData(b""), context(ubi, tmp_path))
    assert ubi.log == ["attach mtd3", "create b"]


def test_mtds_that_must_be_left_alone(tmp_path: Path) -> None:
    ubi = two_volumes()
    for attached in (True, False):
        if not attached:
            ubi.detach(0)
            ubi.log.clear()
        ctx = context(ubi, tmp_path)
        ctx.hw.mtd_denied = frozenset({4})
        with pytest.raises(PreflightRefused, match="left alone"):
            install(entry(), FakeData(NEW), ctx)
        with pytest.raises(PreflightRefused, match="no UBI volume b"):
            install(entry()._replace(device=""), FakeData(NEW), ctx)
        assert ubi.log == []


# -- together with partitions


def test_a_volume_that_this_update_makes(tmp_path: Path) -> None:
    ubi = FakeUbi()
    makes = partition("b", len(NEW))
    ctx = context(ubi, tmp_path, makes)
    look = UbiVolume().preflight
    assert look(entry(), UbiVolume.Options(), ctx).target == "the new UBI volume b"
    assert look(entry()._replace(device=""), UbiVolume.Options(), ctx)
    with pytest.raises(PreflightRefused, match="can have 8192"):
        look(entry()._replace(size_bytes=8193), UbiVolume.Options(), ctx)
    install(makes, FakeData(b""), ctx)
    install(entry(), FakeData(NEW), ctx)
    assert ubi.holds("b") == NEW.rstrip(b"\xff")
    removes = context(ubi, tmp_path, partition("b", 0))
    with pytest.raises(PreflightRefused, match="no UBI volume b"):
        look(entry(), UbiVolume.Options(), removes)


def test_room_for_all_partitions_together(tmp_path: Path) -> None:
    ubi = FakeUbi(lebs=10)
    ubi.put("old", b"x", lebs=6)
    entries = [partition("old", 0), partition("a", 6 * 4096), partition("b", 5 * 4096)]
    ctx = context(ubi, tmp_path, *entries)
    for art in entries[:2]:
        UbiPartition().preflight(art, UbiPartition.Options(), ctx)
    with pytest.raises(PreflightRefused, match="1 blocks of 4096 bytes too few"):
        UbiPartition().preflight(entries[2], UbiPartition.Options(), ctx)
    with pytest.raises(PreflightRefused, match="size is missing"):
        UbiPartition().preflight(entries[1]._replace(size_bytes=None), UbiPartition.Options(), ctx)


# -- ubiswap


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([("a",)], "two names"),
        ([("a", "b", "c")], "two names"),
        ([("a", "b"), ("b", "c")], "once only"),
        ([(f"a{n}", f"b{n}") for n in range(17)], "16 pairs"),
    ],
)
def test_swaps_that_make_no_sense(pairs: list[tuple[str, ...]], text: str, tmp_path: Path) -> None:
    ubi = two_volumes()
    art = Artifact(
        Kind.SCRIPT, "ubiswap", properties={f"swap-{number}": pair for number, pair in enumerate(pairs)}
    )
    with pytest.raises(PreflightRefused, match=text):
        run_script(art, list(Phase), context(ubi, tmp_path))
    assert ubi.log == []


def test_swap_with_a_volume_that_this_update_makes(tmp_path: Path) -> None:
    art = Artifact(Kind.SCRIPT, "ubiswap", properties={"swap-0": ("a", "c")})
    ubi = two_volumes()
    makes = partition("c", 4096)
    needs = UbiSwap().preflight(art, UbiSwap.Options({0: ("a", "c")}), context(ubi, tmp_path, makes))
    assert needs.target == "the names of 2 UBI volumes"
    with pytest.raises(DeviceError, match="no UBI volume c"):
        UbiSwap().run(art, UbiSwap.Options({0: ("a", "c")}), Phase.POSTINSTALL, context(ubi, tmp_path))
