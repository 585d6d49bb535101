"""Images that are installed as they are fetched: the same verdicts, and nothing committed before the last of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swagent.app import SwuInstaller
from swagent.bootloader.grub import Grub
from swagent.clock import SystemClock
from swagent.errors import (
    EndlessDataError,
    HardwareRefused,
    HashError,
    PreflightRefused,
    SwagentError,
    TransportError,
)
from swagent.installer.journal import Journal, Record, State
from swagent.model import Hardware, InstallRequest, Outcome
from swagent.net import HttpOptions, open_folder
from swagent.settings import InstallSettings, UpdateType
from swagent.testing.repositories import RepoSimulator
from swagent.uptane.codecs import NAMES
from swagent.uptane.errors import TargetHashMismatch
from swagent.uptane_client.parts import Policy
from swagent.uptane_client.vehicle import Pending
from tests.faults.images import Member, archive, described, entry, noise, signed, signing_key
from tests.net.server import Exchange, Server, serving

from .world import FIRMWARE, PRIMARY, TCU, Bytes, Mirror, Source, World

NO_STORE = Policy(store=False)
SLOT_BYTES = 600_001


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, quick_path: Path) -> World:
    world = World(quick_path, request.param)
    world.policy = NO_STORE
    return world.started()


def stored(world: World) -> list[Path]:
    return [path for path in (world.folder / "files" / "primary" / "targets").rglob("*") if path.is_file()]


def through(world: World, director: Mirror, image: Mirror, **changes: Any) -> Any:
    """A Primary that finds images on these two mirrors."""
    sources = {"director": Source(world.director, director), "image": Source(world.image, image)}
    return world.primary(**sources, **changes)


class Cut(Bytes):
    """A stream whose connection breaks for good."""

    def readinto(self, buffer: memoryview) -> int:
        n = super().readinto(buffer[:8])
        if not n:
            raise TransportError("the connection ended")
        return n


class OneStream(Mirror):
    """A mirror that gives out this stream."""

    def __init__(self, make: Callable[[], Bytes]) -> None:
        super().__init__()
        self._make = make

    def open(self, name: str) -> Bytes:
        return self._make()


class Picky:
    """An installer that sees a fault by itself, before the last byte."""

    def __init__(self, fault: SwagentError) -> None:
        self._fault = fault
        self.runs = b""

    def install(self, request: InstallRequest) -> Outcome:
        request.source.readinto(memoryview(bytearray(4)))
        raise self._fault

    def mark(self) -> str:
        return ""

    def completed(self, mark: str) -> bool | None:
        return False


class TestAnyInstaller:
    def test_nothing_is_stored(self, world: World) -> None:
        world.order(PRIMARY)
        assert world.primary().cycle().result == "installed"
        assert world.installers[PRIMARY].runs == FIRMWARE
        assert stored(world) == []
        assert world.primary().cycle().result == "nothing-to-do"

    def test_it_is_told_that_nobody_vouches_for_it_yet(self, world: World) -> None:
        world.order(PRIMARY)
        world.primary().cycle()
        assert not world.installers[PRIMARY].verified
        world.policy = Policy()
        world.order(PRIMARY, data=b"stored first")
        world.primary().cycle()
        assert world.installers[PRIMARY].verified

    @pytest.mark.parametrize(
        "data", [FIRMWARE[:-1] + b"!", FIRMWARE[:-1], FIRMWARE + b"!", b"", b"Evil  firmware image"]
    )
    def test_changed_on_the_mirror(self, world: World, data: bytes) -> None:
        world.order(PRIMARY)
        world.mirror.images["firmware.img"] = data
        with pytest.raises((TargetHashMismatch, EndlessDataError)):
            world.primary().cycle()
        assert world.installers[PRIMARY].runs == b""
        assert world.memory.pending() == {}
        _, results = world.memory.results()
        assert [result.code for result in results] == [3]
        world.mirror.images["firmware.img"] = FIRMWARE
        world.primary().cycle()
        assert world.installers[PRIMARY].runs == FIRMWARE

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_every_hash_counts(self, world: World, algorithm: str) -> None:
        world.order(PRIMARY)
        for sim in (world.director, world.image):
            target = sim.targets["firmware.img"]
            lie = {**target.hashes, algorithm: "00" * (len(target.hashes[algorithm]) // 2)}
            sim.targets["firmware.img"] = target._replace(hashes=lie)
        world.publish()
        with pytest.raises(TargetHashMismatch, match=algorithm):
            world.primary().cycle()
        assert world.installers[PRIMARY].runs == b""

    @pytest.mark.parametrize("bad", [Bytes(FIRMWARE[:-1]), Bytes(b"!" * len(FIRMWARE)), Cut(FIRMWARE[:9])])
    def test_the_next_mirror_is_asked(self, world: World, bad: Bytes) -> None:
        world.order(PRIMARY)
        assert through(world, OneStream(lambda: bad), world.mirror).cycle().result == "installed"
        assert world.installers[PRIMARY].runs == FIRMWARE

    def test_a_mirror_without_it_disturbs_nobody(self, world: World) -> None:
        world.order(PRIMARY)
        assert through(world, Mirror(), world.mirror).cycle().result == "installed"
        assert world.installers[PRIMARY].asked == 1

    def test_a_connection_that_breaks_is_a_failed_download(self, world: World) -> None:
        world.order(PRIMARY)
        broken = OneStream(lambda: Cut(FIRMWARE[:9]))
        with pytest.raises(TransportError):
            through(world, broken, broken).cycle()
        assert world.memory.results()[1][0].code == 5

    def test_somebody_who_installs_slowly_blames_no_mirror(self, world: World) -> None:
        world.order(PRIMARY)
        world.installers[PRIMARY].takes = lambda: world.clock.passes(60)
        assert world.primary().cycle().result == "installed"

    def test_what_secondaries_need_is_stored(self, world: World) -> None:
        world.order(PRIMARY, "info.img", b"for the Primary")
        world.order(TCU)
        world.primary().cycle()
        assert [path.name for path in stored(world)] == ["firmware.img"]

    def test_what_is_stored_already_is_not_fetched(self, world: World) -> None:
        world.order(PRIMARY)
        world.policy = Policy(install=False)
        assert world.primary().cycle().result == "downloaded"
        world.policy = NO_STORE
        world.mirror.images.clear()
        assert world.primary().cycle().result == "installed"

    def test_whose_fault_it_is(self, world: World) -> None:
        """An installer that trips over a changed byte is not to blame; over what was signed, it is."""
        world.order(PRIMARY)
        picky = Picky(HashError("rootfs.img is damaged"))
        with pytest.raises(HashError):
            world.primary(installers={PRIMARY: picky}).cycle()
        world.mirror.images["firmware.img"] = FIRMWARE[:-1] + b"!"
        with pytest.raises(TargetHashMismatch) as caught:
            world.primary(installers={PRIMARY: picky}).cycle()
        assert isinstance(caught.value.__cause__, HashError)
        refused = Picky(HardwareRefused("other hardware"))
        with pytest.raises(HardwareRefused):
            world.primary(installers={PRIMARY: refused}).cycle()


class Unit:
    """A unit of two copies, GRUB, and a web server with the image."""

    def __init__(self, world: World, server: Server) -> None:
        self.world = world
        self.server = server
        folder = world.folder
        (folder / "key.pem").write_bytes(signing_key()[1])
        self.slot = folder / "slot-b.img"
        self.slot.write_bytes(bytes(SLOT_BYTES))
        block = folder / "grubenv"
        block.write_bytes(b"# GRUB Environment Block\nslot=a\n".ljust(1024, b"#"))
        self.env = Grub({"grubenv-path": str(block)})
        self.run = folder / "run"
        self.run.mkdir()
        (folder / "journal").mkdir()
        self.settings = InstallSettings(
            public_key_files=(str(folder / "key.pem"),),
            bootloader="grub",
            grubenv_path=str(block),
            state_directory=str(folder / "journal"),
        )
        environ = {"RUNTIME_DIRECTORY": str(self.run), "TMPDIR": str(self.run)}
        self.installer = SwuInstaller(self.settings, world.bus, environ, hardware=Hardware("gateway", "1.0"))

    def order(self, **attributes: str | bool) -> bytes:
        """Both repositories sign an .swu for the copy that does not run; returns it."""
        words: dict[str, str | int | bool] = {
            "device": str(self.slot),
            "installed_directly": True,
            **attributes,
        }
        section = "files" if "path" in attributes else "images"
        member = Member("rootfs.img", noise(SLOT_BYTES))
        text = described({
            section: [entry(member, **words)], "bootenv": ['{ name = "slot"; value = "b"; }']
        })  # fmt: skip
        swu = archive(signed(text, member))
        self.world.order(PRIMARY, "update.swu", swu)
        self.server.content = swu
        return swu

    def cycle(self, **changes: Any) -> str:
        clock, options = SystemClock(), HttpOptions(retries=1, retry_wait_s=0.01, timeout_s=20.0)
        web = open_folder(f"http://localhost:{self.server.port}/targets", options, clock)
        source = Source(self.world.image, web)  # type: ignore[arg-type]  # a folder as good as any
        director = Source(self.world.director, Mirror())
        try:
            sources = {"image": source, "director": director}
            primary = self.world.primary(installers={PRIMARY: self.installer}, **sources, **changes)
            return primary.cycle().result
        finally:
            web.close()

    def states(self) -> list[State]:
        return [record.state for record in Journal(str(self.world.folder / "journal"), "").read().updates]


@pytest.fixture
def unit(quick_path: Path) -> Iterator[Unit]:
    world = World(quick_path, "tuf1")
    world.policy = NO_STORE
    with serving(b"") as server:
        yield Unit(world.started(), server)


def cut_short(exchange: Exchange) -> None:
    exchange.serve(content=exchange.server.content[:-512])


def endless(exchange: Exchange) -> None:
    exchange.head(200, {"Content-Type": "application/octet-stream", "Connection": "close"})
    exchange.send(exchange.server.content)
    while True:  # until the client has had enough
        exchange.send(bytes(16 * 1024))


class TestAnArchive:
    def test_it_arrives(self, unit: Unit) -> None:
        unit.order()
        assert unit.cycle() == "pending"
        assert unit.slot.read_bytes() == noise(SLOT_BYTES)
        assert unit.env.get("slot") == "b"
        assert unit.states() == [State.COMMITTED]
        assert len(unit.server.requests) == 1
        assert stored(unit.world) == []
        pending = unit.world.memory.pending()[PRIMARY]
        assert unit.installer.completed(pending.mark) is None
        self._end(unit, State.CONFIRMED)
        unit.world.primary(installers={PRIMARY: unit.installer}).cycle()
        assert unit.world.memory.ecus()[PRIMARY].installed.path == "update.swu"

    def _end(self, unit: Unit, state: State) -> None:
        journal = Journal(str(unit.world.folder / "journal"), "")
        last = journal.read().last
        assert last is not None
        journal.put(last._replace(state=state))

    def test_it_goes_on_after_a_cut(self, unit: Unit) -> None:
        unit.order()
        unit.server.plan = [lambda exchange: exchange.serve(cut_bytes=300_000)]
        assert unit.cycle() == "pending"
        assert unit.server.ranges[-1].startswith("bytes=")

    @pytest.mark.parametrize("at", [-1, 300_000, 40], ids=["last byte", "in the image", "header"])
    def test_one_byte_is_another(self, unit: Unit, at: int) -> None:
        lie = bytearray(unit.order())
        lie[at] ^= 1
        unit.server.content = bytes(lie)
        self._refused(unit, TargetHashMismatch)

    @pytest.mark.parametrize("answer", [cut_short, endless])
    def test_too_short_or_without_an_end(self, unit: Unit, answer: Callable[[Exchange], None]) -> None:
        unit.order()
        unit.server.usual = answer
        self._refused(unit, TargetHashMismatch, EndlessDataError)

    def test_a_hash_that_only_the_repositories_know(self, unit: Unit) -> None:
        """All that the archive itself vouches for is right, and it is not what was signed."""
        unit.order()
        for sim in (unit.world.director, unit.world.image):
            self._sign_another(sim)
        unit.world.publish()
        self._refused(unit, TargetHashMismatch)
        assert unit.slot.read_bytes() == noise(SLOT_BYTES), "written, and not committed"

    def _sign_another(self, sim: RepoSimulator) -> None:
        target = sim.targets["update.swu"]
        sim.targets["update.swu"] = target._replace(hashes={**target.hashes, "sha512": "ab" * 64})

    def _refused(self, unit: Unit, *errors: type[SwagentError]) -> None:
        with pytest.raises(errors):
            unit.cycle()
        assert unit.env.get("slot") == "a", "nothing is committed"
        assert State.COMMITTED not in unit.states()
        assert unit.world.memory.pending() == {}
        assert unit.world.memory.results()[1][0].code == 3
        unit.server.usual = Exchange.serve
        unit.world.memory.forget_attacks(99)
        unit.order()
        assert unit.cycle() == "pending"
        assert unit.env.get("slot") == "b"

    def test_what_fails_behind_the_commit_undoes_nothing(self, unit: Unit) -> None:
        unit.installer = SwuInstaller(
            unit.settings._replace(update_types={"default": UpdateType("default", postupdatecmd="exit 3")}),
            unit.world.bus,
            {"RUNTIME_DIRECTORY": str(unit.run), "TMPDIR": str(unit.run)},
            hardware=Hardware("gateway", "1.0"),
        )
        unit.order()
        assert unit.cycle() == "pending"
        assert unit.env.get("slot") == "b"
        assert unit.world.memory.results() == (0, ())

    def test_not_into_the_running_system(self, unit: Unit) -> None:
        place = unit.world.folder / "etc"
        unit.order(device="", path=str(place))
        with pytest.raises(PreflightRefused, match="before all of it was verified"):
            unit.cycle()
        assert not place.exists()
        assert unit.states() == []
        unit.world.policy = Policy()
        unit.order(path=str(place), device="")
        assert unit.cycle() == "pending", "stored first, it may"

    def test_what_is_staged_is_written_after_the_verdict(self, unit: Unit) -> None:
        place = unit.world.folder / "file"
        unit.order(device="", path=str(place), installed_directly=False)
        lie = bytearray(unit.server.content)
        lie[-1] ^= 1
        good, unit.server.content = unit.server.content, bytes(lie)
        with pytest.raises(TargetHashMismatch):
            unit.cycle()
        assert not place.exists()
        unit.server.content = good
        assert unit.cycle() == "pending"


class TestAfterACut:
    """The power went away between the Primary's note and the first word of the installer's journal."""

    @pytest.mark.parametrize("before", [[], [State.CONFIRMED], [State.COMMITTED]])
    def test_it_is_not_taken_for_installed(self, unit: Unit, before: list[State]) -> None:
        unit.order()
        journal = Journal(str(unit.world.folder / "journal"), "boot")
        for number, state in enumerate(before):
            journal.put(Record(f"session-{number}", state, boot_id="boot"))
        assert unit.installer.completed(unit.installer.mark()) is False

    @pytest.mark.parametrize(
        ("state", "done"), [(State.CONFIRMED, True), (State.TESTING, None), (State.ROLLED_BACK, False)]
    )
    def test_what_it_began_is_judged_by_its_journal(
        self, unit: Unit, state: State, done: bool | None
    ) -> None:
        journal = Journal(str(unit.world.folder / "journal"), "boot")
        journal.put(Record("earlier", State.CONFIRMED))
        mark = unit.installer.mark()
        journal.put(Record("ours", state, boot_id="boot"))
        assert unit.installer.completed(mark) is done
        journal.put(Record("another", State.CONFIRMED))
        assert unit.installer.completed(mark) is False, "something else was installed since"

    def test_the_next_cycle_begins_anew(self, unit: Unit) -> None:
        unit.order()
        journal = Journal(str(unit.world.folder / "journal"), "boot")
        journal.put(Record("earlier", State.CONFIRMED))
        target = unit.world.director.targets["update.swu"]
        image = unit.world.memory.ecus()[PRIMARY].installed._replace(path=target.path)
        unit.world.memory.keep_pending(Pending(PRIMARY, image, None, "", "boot", unit.installer.mark()))
        assert unit.cycle() == "pending"
        assert unit.env.get("slot") == "b"


@pytest.mark.parametrize("data", [FIRMWARE[:-1], FIRMWARE[:-1] + b"!", FIRMWARE + b"!"])
def test_what_went_wrong_once_is_never_the_end(world: World, data: bytes) -> None:
    """Also for an installer that goes on after an error."""
    seen: list[object] = []

    class Stubborn(Picky):
        def install(self, request: InstallRequest) -> Outcome:
            buffer = memoryview(bytearray(64))
            for _ in range(4):
                try:
                    seen.append(request.source.readinto(buffer))
                except SwagentError as exc:
                    seen.append(type(exc))
                    last = exc
            raise last

    world.order(PRIMARY)
    mirror = OneStream(lambda: Bytes(data))
    stubborn = Stubborn(HashError(""))
    with pytest.raises(SwagentError):
        through(world, mirror, Mirror(), installers={PRIMARY: stubborn}).cycle()
    assert seen[0] == min(len(data), len(FIRMWARE))
    assert seen[1] in (TargetHashMismatch, EndlessDataError)
    assert seen[1:] == [seen[1]] * 3
