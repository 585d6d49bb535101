"""delta: the new image comes out whole or not at all, whatever the source and the server are; and little is fetched."""

import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swagent import errors
from swagent.errors import ArchiveError, Cancelled, DeviceError, HashError, PreflightRefused, SizeError
from swagent.handlers import rebuild
from swagent.handlers.filesystem import filesystem_bytes
from swagent.model import Artifact, Kind
from swagent.testing import FakeContext, FakeData, FakeHardware, install
from tests.programs import must, need

from .zckfile import zck, zck_header

URL = "http://server/image.zck"
BLOCK = 4096
DICE = random.Random(218)


def image(n_bytes: int) -> bytes:
    """Blocks as in a file system: empty, repetitive, packed."""
    kinds: list[Callable[[], bytes]] = [
        lambda: bytes(BLOCK),
        lambda: DICE.randbytes(64) * 64,
        lambda: DICE.randbytes(BLOCK),
    ]
    return b"".join(DICE.choice(kinds)() for _ in range(n_bytes // BLOCK))


def touched(old: bytes, share: float = 0.05) -> bytes:
    """Some blocks written anew, in clusters, as in a file system that lived on."""
    new, blocks = bytearray(old), len(old) // BLOCK
    left = int(blocks * share)
    while left:
        run = min(left, DICE.randint(4, 40))
        at = DICE.randrange(blocks - run)
        new[at * BLOCK : (at + run) * BLOCK] = DICE.randbytes(run * BLOCK)
        left -= run
    return bytes(new)


def shifted(old: bytes, times: int = 4) -> bytes:
    """Bytes put in here and taken out there, as in an image that was packed anew."""
    new = bytearray(old)
    for _ in range(times):
        at = DICE.randrange(len(new))
        new[at:at] = DICE.randbytes(DICE.randint(1, 9000))
        at = DICE.randrange(len(new))
        del new[at : at + DICE.randint(1, 9000)]
    return bytes(new)


class Unit:
    """A device with the old version in ``a`` and something in ``b``."""

    def __init__(self, folder: Path, old: bytes, **context: object) -> None:
        self.folder = folder
        self.a, self.b = folder / "a", folder / "b"
        self.a.write_bytes(old)
        self.b.write_bytes(b"as it was")
        self.ctx = FakeContext(str(folder), **context)  # type: ignore[arg-type]  # by key

    def entry(self, **properties: str) -> Artifact:
        told = {"source": str(self.a), "chain": "raw", "url": URL, **properties}
        return Artifact(
            Kind.IMAGE, "delta", filename="header", device=str(self.b),
            properties={key.replace("_", "-"): (value,) for key, value in told.items()},
        )  # fmt: skip

    def install(self, front: bytes, **properties: str) -> None:
        data = FakeData(front)
        install(self.entry(**properties), data, self.ctx)
        assert data.ended

    @property
    def fetched_bytes(self) -> int:
        return sum(last - first + 1 for file in self.ctx.fetched for first, last in file.spans)

    def failed(self) -> None:
        """Nothing was switched, all was let go, and what was fetched is closed."""
        assert {target.state for target in self.ctx.hw.targets} <= {"abandoned"}
        assert all(file.closed for file in self.ctx.fetched)
        assert not self.ctx.env.staged

    def untouched(self) -> None:
        self.failed()
        assert self.b.read_bytes() == b"as it was"


OLD = image(3 << 20)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda old: old, 0.0),
        (touched, 0.10),
        (shifted, 0.20),
        (lambda old: old[1 << 20 :] + old[: 1 << 20], 0.05),
        (lambda old: old[: 2 << 20], 0.05),
        (lambda old: old + touched(old, 0.0)[: 1 << 20], 0.05),
        (lambda old: bytes(1 << 20) + old, 0.10),
        (lambda old: DICE.randbytes(1 << 20), 1.01),
        (lambda old: b"", 0.0),
        (lambda old: b"x", 1.0 * BLOCK),
    ],
    ids=["same", "touched", "shifted", "turned", "shorter", "longer", "behind-zeros", "other", "empty", "tiny"],
)  # fmt: skip
def test_from_one_version_to_the_next(tmp_path: Path, change: Callable[[bytes], bytes], most: float) -> None:
    new = change(OLD)
    front, whole = zck(tmp_path, new)
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.install(front)
    assert unit.b.read_bytes()[: len(new)] == new
    assert unit.a.read_bytes() == OLD
    assert unit.fetched_bytes <= most * max(len(new), 1)
    assert [target.state for target in unit.ctx.hw.targets] == ["closed"]
    assert all(file.closed for file in unit.ctx.fetched)


@pytest.mark.slow
def test_a_file_system_of_64_mib(tmp_path: Path) -> None:
    """5 % of an image changed: less than 10 % is fetched, and the image is the same."""
    old = image(64 << 20)
    for new in (touched(old), shifted(touched(old, 0.04), 10)):
        front, whole = zck(tmp_path, new)
        unit = Unit(tmp_path, old, files={URL: whole})
        unit.install(front)
        assert unit.b.read_bytes() == new
        assert len(front) + unit.fetched_bytes < len(new) // 10


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 300_000), st.integers(0, 60_000), st.binary(max_size=50)), max_size=5
    )
)
def test_any_mixture_comes_out_right(tmp_path: Path, cuts: list[tuple[int, int, bytes]]) -> None:
    old = OLD[:400_000]
    new = b"".join(old[at : at + n_bytes] + more for at, n_bytes, more in cuts)
    front, whole = zck(tmp_path, new)
    unit = Unit(tmp_path, old, files={URL: whole})
    unit.b.write_bytes(b"")
    unit.install(front)
    assert unit.b.read_bytes() == new


def test_without_compression(tmp_path: Path) -> None:
    new = touched(OLD)
    front, whole = zck(tmp_path, new, "-u", "-h", "sha256", "--compression-format", "none")
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.install(front)
    assert unit.b.read_bytes() == new


def test_a_file_takes_the_place_of_the_source(tmp_path: Path) -> None:
    new = touched(OLD)
    front, whole = zck(tmp_path, new)
    unit = Unit(tmp_path, OLD, files={URL: whole})
    art = unit.entry(chain="rawfile", atomic_install="true")._replace(
        device="", path=str(unit.a), kind=Kind.FILE
    )
    install(art, FakeData(front), unit.ctx)
    unit.ctx.sync.flush()
    assert unit.a.read_bytes() == new


# -- sources that are not what they should be


def test_without_a_source_all_is_fetched(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, OLD)
    unit = Unit(tmp_path, b"", files={URL: whole})
    unit.a.unlink()
    unit.install(front)
    assert unit.b.read_bytes() == OLD
    assert unit.fetched_bytes == len(whole) - len(front)
    assert any("all of header is downloaded" in line for level, line in unit.ctx.logged if level == "warn")


def test_a_folder_as_source(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, OLD)
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.a.unlink()
    unit.a.mkdir()
    unit.install(front)
    assert unit.b.read_bytes() == OLD


def test_a_short_source(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, OLD)
    unit = Unit(tmp_path, OLD[: 1 << 20], files={URL: whole})
    unit.install(front)
    assert unit.b.read_bytes() == OLD
    assert 0 < unit.fetched_bytes < (len(whole) - len(front)) * 0.75


def test_a_source_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """What was found is checked again when it is used."""
    front, whole = zck(tmp_path, OLD)
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.ctx.log = changing(unit.a)  # type: ignore[method-assign,assignment]  # between finding and using, it tells what it found
    unit.install(front)
    assert unit.b.read_bytes() == OLD
    assert 0 < unit.fetched_bytes < len(whole) // 2


def changing(path: Path) -> Callable[[str, str], None]:
    def log(level: str, message: str) -> None:
        if "chunks are in" in message:
            with path.open("r+b") as file:
                file.seek(1 << 20)
                file.write(b"something else" * 1000)

    return log


def test_source_size(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, OLD)
    for size, least in (("1M", 0.4), ("0x100000", 0.4), ("8M", 0.0)):
        unit = Unit(tmp_path, OLD, files={URL: whole})
        unit.install(front, source_size=size)
        assert unit.b.read_bytes() == OLD
        assert unit.fetched_bytes >= least * (len(whole) - len(front))


def test_source_size_by_the_file_system(tmp_path: Path) -> None:
    need("mkfs.ext4")
    fs = tmp_path / "fs"
    must(["mkfs.ext4", "-q", "-b", "4096", fs, "2M"])
    old = fs.read_bytes()
    assert filesystem_bytes(old[:4096]) == 2 << 20
    behind = image(1 << 20)
    front, whole = zck(tmp_path, old + behind)
    unit = Unit(tmp_path, old + behind, files={URL: whole})
    unit.install(front, source_size="detect")
    assert unit.b.read_bytes() == old + behind
    assert unit.fetched_bytes > len(behind) // 4
    unit = Unit(tmp_path, behind, files={URL: zck(tmp_path, behind)[1]})
    unit.install(zck(tmp_path, behind)[0], source_size="detect")
    assert any("no file system that is known" in line for _, line in unit.ctx.logged)
    assert unit.fetched_bytes == 0


@pytest.mark.parametrize(
    ("at", "field", "size"),
    [
        (0, b"hsqs".ljust(40, b"\0") + (5000).to_bytes(8, "little"), 8192),
        (
            1024,
            b"\xe2\xe1\xf5\xe0".ljust(12, b"\0") + b"\x0c".ljust(24, b"\0") + (7).to_bytes(4, "little"),
            7 * 4096,
        ),
        (
            1024,
            b"\xe2\xe1\xf5\xe0".ljust(12, b"\0") + b"\xff".ljust(24, b"\0") + (7).to_bytes(4, "little"),
            None,
        ),
        (1080, b"\x53\xef", 0),
        (0, b"", None),
    ],
)
def test_how_long_file_systems_are(at: int, field: bytes, size: int | None) -> None:
    assert filesystem_bytes(bytes(at) + field) == size


# -- what must not be


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"chain": "delta"}, "chained to itself"),
        ({"url": ""}, "no url"),
        ({"url": "dynamic"}, "no url"),
        ({"max_ranges": "0"}, "max-ranges goes from 1 to"),
        ({"max_ranges": "201"}, "max-ranges goes from 1 to"),
        ({"source_size": "much"}, "source-size"),
    ],
)
def test_entries_that_make_no_sense(tmp_path: Path, properties: dict[str, str], says: str) -> None:
    unit = Unit(tmp_path, OLD)
    with pytest.raises(PreflightRefused, match=says):
        unit.install(zck_header([]), **properties)
    unit.untouched()


def test_a_chain_that_cannot(tmp_path: Path) -> None:
    unit = Unit(tmp_path, OLD)
    for chain in ("nothing", "shellscript"):
        with pytest.raises(errors.DescriptionError):
            unit.install(zck_header([]), chain=chain)
    unit.untouched()


def test_a_source_that_is_the_target(tmp_path: Path) -> None:
    unit = Unit(tmp_path, OLD)
    with pytest.raises(PreflightRefused, match="overlaps its target"):
        unit.install(zck_header([]), source=str(unit.b))
    art = unit.entry(chain="rawfile")._replace(device="", path=str(unit.a))
    with pytest.raises(PreflightRefused, match="is its target"):
        install(art, FakeData(zck_header([])), unit.ctx)
    assert unit.a.read_bytes() == OLD
    unit.untouched()


def test_a_target_that_is_too_small(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, OLD)
    unit = Unit(tmp_path, OLD, files={URL: whole}, hw=FakeHardware(capacities={str(tmp_path / "b"): 1 << 20}))
    with pytest.raises(PreflightRefused, match="holds only"):
        unit.install(front)
    unit.untouched()


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, touched(OLD))
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.ctx.hw.read_only.add(str(unit.b))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(DeviceError, match="cannot open"):
        unit.install(front)
    assert os.listdir("/proc/self/fd") == before
    unit.untouched()


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, OLD)
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.b.unlink()
    with pytest.raises(DeviceError):
        unit.install(front)
    assert not unit.fetched_bytes
    unit.failed()


def test_a_header_that_is_not_what_was_promised(tmp_path: Path) -> None:
    front, _ = zck(tmp_path, OLD)
    unit = Unit(tmp_path, OLD)
    with pytest.raises(HashError):
        install(unit.entry(), FakeData(front, verdict=HashError("no")), unit.ctx)
    with pytest.raises(ArchiveError, match="damaged"):
        unit.install(front[:-1] + b"\0")
    with pytest.raises(SizeError, match="has more than"):
        unit.install(bytes((16 << 20) + 1))
    unit.untouched()


def test_a_server_without_the_file(tmp_path: Path) -> None:
    """Noticed before the target is opened."""
    front, _ = zck(tmp_path, touched(OLD))
    unit = Unit(tmp_path, OLD)
    with pytest.raises(errors.TransportError):
        unit.install(front)
    unit.untouched()


@pytest.mark.parametrize("at", [0.0, 0.5, 0.999])
def test_chunks_that_are_others(tmp_path: Path, at: float) -> None:
    """A byte of the file on the server is another: nothing of that chunk reaches the target."""
    new = DICE.randbytes(600_000)
    front, whole = zck(tmp_path, new)
    bent = bytearray(whole)
    bent[len(front) + int((len(whole) - len(front)) * at)] ^= 1
    unit = Unit(tmp_path, OLD, files={URL: bytes(bent)})
    with pytest.raises(HashError, match="are not those that header names"):
        unit.install(front)
    unit.failed()
    written = unit.b.read_bytes()
    assert written == b"as it was" or new.startswith(written)


def test_chunks_that_lie_about_their_size(tmp_path: Path) -> None:
    """Digests of stored bytes are right, but more, fewer or other bytes come out than the header says."""
    from backports import zstd

    stored = zstd.compress(b"z" * 100_000)
    for plain, error in (
        (b"z" * 99_999, SizeError),
        (b"z" * 100_001, HashError),
        (b"y" * 100_000, HashError),
    ):
        front = zck_header([(plain, stored)])
        unit = Unit(tmp_path, OLD, files={URL: front + stored})
        with pytest.raises(error):
            unit.install(front)
        unit.failed()
    for damaged in (stored[:-3], b"no frame at all"):
        front = zck_header([(b"z" * 100_000, damaged)])
        unit = Unit(tmp_path, OLD, files={URL: front + damaged})
        with pytest.raises(ArchiveError):
            unit.install(front)
        unit.failed()


@pytest.mark.parametrize("nth", [1, 2, 7])
def test_a_write_that_fails(tmp_path: Path, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    front, whole = zck(tmp_path, touched(OLD))
    unit = Unit(tmp_path, OLD, files={URL: whole})
    count = 0
    pwrite = os.pwrite

    def failing(fd: int, data: bytes, offset: int) -> int:
        nonlocal count
        count += 1
        if count == nth:
            raise OSError(5, "Input/output error")
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(DeviceError, match="Input/output error"):
        unit.install(front)
    unit.failed()


def test_it_can_be_stopped(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, touched(OLD))
    unit = Unit(tmp_path, OLD, files={URL: whole})

    def stop() -> None:
        raise Cancelled("stop")

    unit.ctx.before_checkpoint = stop
    with pytest.raises(Cancelled):
        unit.install(front)
    unit.untouched()


def test_requests_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "BATCH_BYTES", 200_000)
    new = touched(OLD, 0.3)
    front, whole = zck(tmp_path, new)
    unit = Unit(tmp_path, OLD, files={URL: whole})
    batches: list[list[tuple[int, int]]] = []
    parts = unit.ctx.parts

    def watched(url: str, size_bytes: int, parts_max: int) -> object:
        file = parts(url, size_bytes, parts_max)
        fetch = file.fetch
        file.fetch = lambda spans: batches.append(list(spans)) or fetch(spans)  # type: ignore[method-assign,func-returns-value]  # a watch
        return file

    unit.ctx.parts = watched  # type: ignore[method-assign,assignment]  # a watch
    unit.install(front, max_ranges="2")
    assert unit.b.read_bytes() == new
    assert len(batches) > 3
    assert max(map(len, batches)) == 2
    assert all(
        len(spans) == 1 or sum(last - first + 1 for first, last in spans) <= 200_000 for spans in batches
    )
    asked = [span for spans in batches for span in spans]
    assert asked == sorted(asked) and len(set(asked)) == len(asked)
    assert not any(before[1] + 1 == after[0] for spans in batches for before, after in pairwise(spans))


def test_the_log_tells_what_is_fetched(tmp_path: Path) -> None:
    front, whole = zck(tmp_path, touched(OLD))
    unit = Unit(tmp_path, OLD, files={URL: whole})
    unit.install(front, debug_chunks="true", zckloglevel="debug")
    told = "\n".join(f"{level} {line}" for level, line in unit.ctx.logged)
    assert "chunks are in" in told and f"; {unit.fetched_bytes} bytes are fetched" in told
    assert "debug header: chunk 0, " in told
    assert "no property zckloglevel" in told
