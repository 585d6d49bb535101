"""One update from the first byte to the commit: what happens in which order, and what is never done.

The archives are real, the handlers write down what is asked of them, the device is a stand-in.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from swagent.bootloader.none import NoBootloader
from swagent.clock import SystemClock
from swagent.crypto.signature import Trust
from swagent.errors import (
    ArchiveError,
    Cancelled,
    DescriptionError,
    HandlerError,
    HardwareRefused,
    HashError,
    PreflightRefused,
    SignatureError,
    SizeError,
    SwagentError,
    VersionRefused,
)
from swagent.events import Event, EventBus
from swagent.handlers import registry
from swagent.handlers.api import Card, Context
from swagent.installer.journal import Journal
from swagent.installer.rig import Policy, Rig
from swagent.installer.session import Session
from swagent.model import Artifact, Data, Hardware, Kind, Needs, Phase, Plan, Unit
from swagent.plugins import Entry
from swagent.testing import FakeHardware
from tests.faults.images import CRC, Member, archive, described, entry, noise, signed, signing_key
from tests.stream.sources import file_source, stream_source

Done = tuple[str, ...]


class NoteOptions(NamedTuple):
    """What may go wrong."""

    reads: str = "all"
    fails: str = ""


class Unit1:
    """A unit: what its handlers did, its boot variables, its news."""

    def __init__(self, folder: Path) -> None:
        self.did: list[Done] = []
        self.loader = NoBootloader()
        self.loader.set_many({"slot": "a"})
        self.bus = EventBus()
        self.news = self.bus.subscribe()
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        self.events: list[Event] = []
        self.installed: dict[str, tuple[str, ...]] = {}
        self.gates: list[Callable[[Plan, Unit], None]] = []
        self.hw = FakeHardware()
        self.cancel_at: Done | None = None
        self.journal: Journal | None = None
        self.handlers = registry()
        public = folder / "public.pem"
        public.write_bytes(signing_key()[1])
        self.trust = Trust((str(public),))
        unit = self

        class Notes:
            """Writes down what is asked of it."""

            Options: ClassVar[type] = NoteOptions

            def preflight(self, art: Artifact, opt: Any, ctx: Context) -> Needs:
                unit.note("preflight", art.label)
                if opt.fails == "preflight":
                    raise PreflightRefused("it cannot be")
                return Needs(target=art.label)

            def install(self, art: Artifact, opt: Any, data: Data, ctx: Context) -> None:
                unit.note("install", art.label)
                buffer = memoryview(bytearray(1000))
                n_bytes = 0
                if opt.reads == "some":
                    n_bytes = data.readinto(buffer)
                elif opt.reads == "all":
                    while n := data.readinto(buffer):
                        n_bytes += n
                if opt.fails == "install":
                    raise HandlerError("it broke")
                unit.note("installed", art.label, str(n_bytes))

            def apply(self, art: Artifact, opt: Any, ctx: Context) -> None:
                unit.note("apply", art.label)

            def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
                unit.note("run", art.label, phase.value)
                if os.path.exists(ctx.script_path(art)) and opt.fails == phase.value:
                    raise HandlerError("it broke")

        class Image(Notes):
            """For images and files."""

            card: ClassVar[Card] = Card("note", Kind.IMAGE | Kind.FILE)

        class Partition(Notes):
            """For partitions."""

            card: ClassVar[Card] = Card("notelayout", Kind.PARTITION, data=False)

        class Script(Notes):
            """For scripts."""

            card: ClassVar[Card] = Card("notescript", Kind.SCRIPT)

        class Switch(Notes):
            """For scripts that change what boots."""

            card: ClassVar[Card] = Card("noteswitch", Kind.SCRIPT, switches=True)

        for cls in (Image, Partition, Script, Switch):
            self.handlers.add(Entry(cls.card.name, "test", lambda cls=cls: cls))  # type: ignore[misc]  # a lambda's default

    def note(self, *what: str) -> None:
        self.did.append(what)

    def install(
        self, raw: bytes, *, pipe: bool = False, hardware: Hardware | None = None, **policy: Any
    ) -> str:
        """Run one session; what it returns. Its errors are raised. Events are gathered either way."""

        class Commits(NoBootloader):
            """Notes when something is stored."""

            name = "noting"  # what is called none outlives no process

            def set_many(loader, changes: Any) -> None:  # noqa: N805 - self is the unit here
                self.note("env", *(f"{name}={value or ''}" for name, value in changes.items()))
                self.loader.set_many(changes)

            def get(loader, name: str) -> str | None:  # noqa: N805 - as above
                return self.loader.get(name)

            def all(loader) -> dict[str, str]:  # noqa: N805 - as above
                return self.loader.all()

        class Asked:
            """A gate."""

            name = "asked"

            def check(gate, plan: Plan, unit: Unit) -> None:  # noqa: N805 - as above
                self.note("gate")
                for judge in self.gates:
                    judge(plan, unit)

        rig = Rig(
            handlers=self.handlers,
            hw=self.hw,
            bootloader=Commits(),
            bus=self.bus,
            clock=SystemClock(),
            unit=Unit(hardware, self.installed),
            gates=(Asked(),),
            journal=self.journal,
        )
        settings = Policy(**{"trust": self.trust, "tmpdir": str(self.tmp), **policy})
        with stream_source(raw) if pipe else file_source(raw) as source:
            session = Session(rig, settings, source, cancelled=lambda: self.cancel_at in self.did)
            try:
                return session.run()
            finally:
                self.events += self.news.take()
                assert list(self.tmp.iterdir()) == [], "a temporary folder was left behind"

    def names(self) -> list[str]:
        return [event.event for event in self.events if event.event != "log"]

    def verdict(self) -> dict[str, Any]:
        """The one verdict, which comes last."""
        assert self.names().count("update.verdict") == 1
        assert self.events[-1].event == "update.verdict"
        return dict(self.events[-1].facts)

    def writing(self) -> list[Done]:
        """What was done behind gates and preflight."""
        return [done for done in self.did if done[0] not in ("gate", "preflight")]


@pytest.fixture
def unit(tmp_path: Path) -> Unit1:
    return Unit1(tmp_path)


WAYS = pytest.mark.parametrize("pipe", [False, True])
STARTED, ENDED = (
    ("env", "recovery_status=in_progress", "ustate=7"),
    ("env", "slot=b", "recovery_status=", "ustate=1"),
)
FAILED = ("env", "recovery_status=failed", "ustate=3")
SWITCH = ['{ name = "slot"; value = "b"; }']


def noted(filename: str, size_bytes: int = 2500, **attributes: Any) -> tuple[Member, str]:
    member = Member(filename, noise(size_bytes, len(filename)))
    return member, entry(member, type="note", **attributes)


def whole(**properties: str) -> bytes:
    """A bit of everything: a partition, direct and staged images, a file, two scripts, the boot environment."""
    direct, direct_entry = noted("direct.img", installed_directly=True)
    second, second_entry = noted("second.img", installed_directly=True)
    staged, staged_entry = noted("staged.img")
    file, file_entry = noted("file.bin", path="/nowhere")
    one, two = Member("one.sh", b"#!/bin/sh\n"), Member("two.sh", b"#!/bin/sh\n#\n")
    text = described(
        {
            "images": [staged_entry, direct_entry, second_entry],
            "files": [file_entry],
            "partitions": ['{ type = "notelayout"; device = "/dev/x"; name = "gpt"; }'],
            "scripts": [entry(one, type="notescript"), entry(two, type="notescript")],
            "bootenv": SWITCH,
        }
    )
    return archive(signed(text, one, second, staged, direct, file, two), CRC)


ORDER = [
    STARTED,
    ("apply", "gpt"),
    ("install", "second.img"), ("installed", "second.img", "2500"),
    ("install", "direct.img"), ("installed", "direct.img", "2500"),
    ("run", "one.sh", "preinst"), ("run", "two.sh", "preinst"),
    ("install", "staged.img"), ("installed", "staged.img", "2500"),
    ("install", "file.bin"), ("installed", "file.bin", "2500"),
    ("run", "one.sh", "postinst"), ("run", "two.sh", "postinst"),
    ENDED,
]  # fmt: skip


@WAYS
def test_the_order_of_everything(unit: Unit1, pipe: bool) -> None:
    """Partitions, direct images as the archive has them, scripts, staged ones as the description does, env last."""
    assert unit.install(whole(), pipe=pipe) == "installed"
    assert unit.did[0] == ("gate",)
    assert [done[0] for done in unit.did[1:8]] == ["preflight"] * 7
    assert unit.writing() == ORDER
    assert unit.loader.all() == {"slot": "b", "ustate": "1"}
    assert unit.verdict()["result"] == "installed"


@WAYS
def test_the_news_of_a_success(unit: Unit1, pipe: bool) -> None:
    unit.install(whole(), pipe=pipe)
    names = [name for name in unit.names() if not name.endswith(".progress")]
    assert names[:3] == ["update.started", "description.verified", "update.planned"]
    assert names[-1] == "update.verdict"
    assert names.count("artifact.started") == names.count("artifact.done") == 5
    assert names.count("script.started") == names.count("script.done") == 4
    assert "artifact.failed" not in names
    numbers = [event.step for event in unit.events if event.event.endswith(".started") and event.step]
    assert numbers == list(range(1, 10))
    assert {event.steps for event in unit.events if event.step} == {9}
    assert len({event.session for event in unit.events}) == 1


@WAYS
def test_a_dry_run_writes_nothing(unit: Unit1, pipe: bool) -> None:
    before = unit.loader.all()
    assert unit.install(whole(), pipe=pipe, dry_run=True) == "checked"
    assert unit.did == [("gate",)]
    assert unit.loader.all() == before
    assert unit.verdict()["result"] == "checked"


@WAYS
@pytest.mark.parametrize("name", ["second.img", "staged.img", "file.bin", "two.sh"])
def test_a_dry_run_judges_every_member(unit: Unit1, pipe: bool, name: str) -> None:
    with pytest.raises(HashError, match=name):
        unit.install(damaged(whole(), name), pipe=pipe, dry_run=True)
    assert unit.writing() == []


@WAYS
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_member_of_another_size(unit: Unit1, pipe: bool, dry_run: bool) -> None:
    """Found by a dry run too, also of a stream."""
    member, text = noted("app.img", installed_directly=True, size=2499)
    with pytest.raises(SizeError, match="2499"):
        unit.install(archive(signed(described({"images": [text]}), member)), pipe=pipe, dry_run=dry_run)
    assert unit.writing() == []


def damaged(raw: bytes, name: str) -> bytes:
    """One bit of a member's data is another."""
    data = bytearray(raw)
    at = data.rindex(name.encode() + b"\0") + len(name) + 8
    data[at] ^= 1
    return bytes(data)


@WAYS
@pytest.mark.parametrize("name", ["second.img", "staged.img", "file.bin", "two.sh"])
def test_a_damaged_member(unit: Unit1, pipe: bool, name: str) -> None:
    """From a file, only what is streamed is written before it is known to be sound."""
    with pytest.raises(HashError) as caught:
        unit.install(damaged(whole(), name), pipe=pipe)
    assert caught.value.artifact == name
    assert unit.loader.get("slot") == "a"
    assert ("installed", name, "2500") not in unit.did
    if not pipe and name != "second.img":
        assert unit.writing() == []
        assert unit.verdict()["result"] == "refused"
    else:
        assert unit.writing()[-1] == FAILED
        assert unit.verdict()["result"] == "failed"
    assert unit.verdict()["exit_code"] == 21


@WAYS
@pytest.mark.parametrize("by", ["policy", "property"])
def test_verify_first(unit: Unit1, by: str, pipe: bool) -> None:
    """Direct members too can be judged before the first write."""
    raw = damaged(whole(), "direct.img")
    if by == "policy":
        with pytest.raises(HashError):
            unit.install(raw, verify_first=True, pipe=pipe)
    else:
        one = Member("one.img", noise(2000))
        text = entry(one, type="note", installed_directly=True)
        text = text[:-1] + ' properties = { verify-first = "true"; }; }'
        with pytest.raises(HashError):
            unit.install(damaged(archive(signed(described({"images": [text]}), one)), "one.img"), pipe=pipe)
    assert unit.writing() == []
    assert unit.install(whole(), verify_first=True, pipe=pipe) == "installed"
    assert unit.writing() == ORDER


def test_what_is_missing_or_too_short_is_refused_before_a_stream_is_written(unit: Unit1) -> None:
    one, two = Member("one.img", noise(2000)), Member("two.img", noise(3000))
    for wrong, error in (((one,), ArchiveError), ((one, Member("two.img", noise(20))), SizeError)):
        entries = [
            entry(one, type="note", installed_directly=True),
            entry(two, type="note", installed_directly=True, size=3000),
        ]
        with pytest.raises(error):
            unit.install(
                archive(signed(described({"images": entries}), *wrong)), verify_first=True, pipe=True
            )
    assert unit.writing() == []


@WAYS
def test_a_failing_handler(unit: Unit1, pipe: bool) -> None:
    member, text = noted("app.img")
    script = Member("one.sh", b"#!/bin/sh\n")
    text = text[:-1] + ' properties = { fails = "install"; }; }'
    sections = {"images": [text], "scripts": [entry(script, type="notescript")], "bootenv": SWITCH}
    with pytest.raises(HandlerError, match="it broke") as caught:
        unit.install(archive(signed(described(sections), member, script)), pipe=pipe)
    assert (caught.value.artifact, caught.value.handler) == ("app.img", "note")
    assert unit.writing() == [
        STARTED,
        ("run", "one.sh", "preinst"),
        ("install", "app.img"),
        ("run", "one.sh", "postfailure"),
        FAILED,
    ]
    assert unit.names().count("artifact.failed") == 1
    assert unit.verdict()["error"]["class"] == "HandlerError"


@WAYS
@pytest.mark.parametrize("fails", ["", "postinst"])
def test_what_boots_is_switched_behind_all_other_scripts(unit: Unit1, pipe: bool, fails: str) -> None:
    """Wherever it stands in the list; and not at all when one of them fails."""
    switch, other = Member("switch.sh", b"#!/bin/sh\n"), Member("other.sh", b"#!/bin/sh\n#\n")
    failing = entry(other, type="notescript")[:-1] + f' properties = {{ fails = "{fails}"; }}; }}'
    entries = [entry(switch, type="noteswitch"), failing]
    raw = archive(signed(described({"scripts": entries, "bootenv": SWITCH}), switch, other), CRC)
    if fails:
        with pytest.raises(HandlerError):
            unit.install(raw, pipe=pipe)
    else:
        unit.install(raw, pipe=pipe)
    assert [done for done in unit.writing() if done[-1] == "postinst" or done == ENDED] == [
        ("run", "other.sh", "postinst"),
        *([] if fails else [("run", "switch.sh", "postinst"), ENDED]),
    ]


@WAYS
@pytest.mark.parametrize("reads", ["some", "nothing"])
@pytest.mark.parametrize("direct", [False, True])
def test_a_handler_that_leaves_data_unread(unit: Unit1, pipe: bool, reads: str, direct: bool) -> None:
    """Then its digest was never judged: an error, whoever is to blame."""
    member, text = noted("app.img", installed_directly=direct)
    text = text[:-1] + f' properties = {{ reads = "{reads}"; }}; }}'
    with pytest.raises(SwagentError, match="left part of its artifact unread"):
        unit.install(archive(signed(described({"images": [text], "bootenv": SWITCH}), member)), pipe=pipe)
    assert unit.writing()[-1] == FAILED
    assert unit.loader.get("slot") == "a"


@WAYS
def test_a_member_for_two_entries(unit: Unit1, pipe: bool) -> None:
    """One is direct, one is not: both get it, from a stream too, where it passes once."""
    member = Member("app.img", noise(700_000))
    direct = entry(member, type="note", installed_directly=True, name="one")
    staged = entry(member, type="note", name="two")
    assert (
        unit.install(archive(signed(described({"images": [direct, staged]}), member)), pipe=pipe)
        == "installed"
    )
    assert unit.did.count(("installed", "app.img", "700000")) == 2


@WAYS
def test_unsigned_images(unit: Unit1, pipe: bool) -> None:
    member, text = noted("app.img")
    raw = archive([Member("sw-description", described({"images": [text]})), member])
    with pytest.raises(SignatureError):
        unit.install(raw, pipe=pipe)
    assert unit.did == []
    assert unit.verdict()["result"] == "refused"
    unit.events.clear()
    assert unit.install(raw, pipe=pipe, trust=None) == "installed"
    assert unit.names()[:2] == ["update.started", "description.unsigned"]


@WAYS
def test_signed_images_need_digests(unit: Unit1, pipe: bool) -> None:
    member = Member("app.img", noise(100))
    text = described({"images": ['{ filename = "app.img"; type = "note"; }']})
    with pytest.raises(DescriptionError, match="sha256 is missing"):
        unit.install(archive(signed(text, member)), pipe=pipe)
    assert unit.did == []
    assert unit.install(archive(signed(text, member)), pipe=pipe, trust=None) == "installed"


@WAYS
def test_a_gate_says_no(unit: Unit1, pipe: bool) -> None:
    def refuse(plan: Plan, there: Unit) -> None:
        raise HardwareRefused("not for this one")

    unit.gates.append(refuse)
    with pytest.raises(HardwareRefused):
        unit.install(whole(), pipe=pipe)
    assert unit.did == [("gate",)]
    assert unit.verdict()["result"] == "refused"


@WAYS
def test_preflight_says_no(unit: Unit1, pipe: bool) -> None:
    """All are asked before any writes; of a stream too."""
    one, first = noted("one.img")
    two, second = noted("two.img")
    second = second[:-1] + ' properties = { fails = "preflight"; }; }'
    with pytest.raises(PreflightRefused) as caught:
        unit.install(archive(signed(described({"images": [first, second]}), one, two)), pipe=pipe)
    assert caught.value.artifact == "two.img"
    assert unit.did == [("gate",), ("preflight", "one.img"), ("preflight", "two.img")]
    assert unit.verdict()["exit_code"] == 34


@WAYS
def test_nothing_to_do(unit: Unit1, pipe: bool) -> None:
    unit.installed = {"app": ("1.0",)}
    member, text = noted("app.img", name="app", version="1.0", install_if_different=True)
    raw = archive(signed(described({"images": [text]}), member))
    with pytest.raises(VersionRefused, match="installed already"):
        unit.install(raw, pipe=pipe)
    unit.events.clear()
    assert unit.install(raw, pipe=pipe, nothing_is_success=True) == "nothing-to-do"
    assert unit.verdict()["result"] == "nothing-to-do"
    assert unit.writing() == []


@WAYS
def test_skipped_entries_are_told(unit: Unit1, pipe: bool) -> None:
    unit.installed = {"app": ("1.0",)}
    skipped, first = noted("app.img", name="app", version="1.0", install_if_different=True)
    other, second = noted("other.img")
    unit.install(archive(signed(described({"images": [first, second]}), skipped, other)), pipe=pipe)
    told = [event for event in unit.events if event.event == "artifact.skipped"]
    assert [(event.artifact, event.facts["reason"]) for event in told] == [
        ("app.img", "app 1.0 is installed")
    ]
    assert [done for done in unit.did if done[0] == "installed"] == [("installed", "other.img", "2500")]


@WAYS
@pytest.mark.parametrize(
    "at", [("apply", "gpt"), ("installed", "second.img", "2500"), ("run", "two.sh", "preinst"),
           ("run", "one.sh", "postinst"), ("install", "staged.img")],
)  # fmt: skip
def test_cancelled_in_the_middle(unit: Unit1, pipe: bool, at: Done) -> None:
    """Nothing more is installed; the scripts hear of the failure; the mark says so."""
    unit.cancel_at = at
    with pytest.raises(Cancelled):
        unit.install(whole(), pipe=pipe)
    done = unit.writing()
    assert done[: ORDER.index(at) + 1] == ORDER[: ORDER.index(at) + 1]
    assert [what for what in done[ORDER.index(at) + 1 :] if what[0] not in ("run", "env")] == []
    assert done[-1] == FAILED
    assert unit.loader.get("slot") == "a"
    assert (unit.verdict()["result"], unit.verdict()["exit_code"]) == ("cancelled", 80)


def test_cancelled_too_late(unit: Unit1) -> None:
    """Once the boot environment is switched the update is installed."""
    unit.cancel_at = ENDED
    assert unit.install(whole()) == "installed"


@WAYS
def test_switches_of_the_markers(unit: Unit1, pipe: bool) -> None:
    unit.install(whole(), pipe=pipe, transaction_marker=False)
    assert [done for done in unit.did if done[0] == "env"] == [
        ("env", "ustate=7"),
        ("env", "slot=b", "ustate=1"),
    ]
    unit.did.clear()
    unit.install(whole(), pipe=pipe, transaction_marker=False, state_marker=False)
    assert [done for done in unit.did if done[0] == "env"] == [("env", "slot=b")]


@WAYS
def test_commands_around_an_update(unit: Unit1, pipe: bool) -> None:
    def program(argv: list[str], stdin: object) -> int:
        unit.note("command", argv[-1])
        return 0

    unit.hw.program = program
    unit.install(whole(), pipe=pipe, pre_update={"default": "before"}, post_update={"default": "after"})
    assert unit.writing() == [("command", "before"), *ORDER, ("command", "after")]
    unit.did.clear()
    unit.install(whole(), pipe=pipe, pre_update={"default": "before"}, dry_run=True)
    assert unit.writing() == []


@WAYS
@pytest.mark.parametrize("name", ["second.img", "staged.img", "file.bin", "two.sh"])
def test_a_missing_member(unit: Unit1, pipe: bool, name: str) -> None:
    """From a file: refused at once. From a stream it is known at its end: staged ones were not installed yet."""
    raw = whole()
    start = raw.rindex(b"070702", 0, raw.rindex(name.encode() + b"\0"))
    end = raw.index(b"070702", start + 6)
    with pytest.raises(ArchiveError, match=name):
        unit.install(raw[:start] + raw[end:], pipe=pipe)
    assert unit.loader.get("slot") == "a"
    assert ("install", "staged.img") not in unit.did
    if not pipe:
        assert unit.did == []


@WAYS
def test_members_nobody_wants(unit: Unit1, pipe: bool) -> None:
    """Their sums are judged as long as they are small."""
    member, text = noted("app.img")
    other = Member("other.bin", noise(3000, 9))
    raw = archive(signed(described({"images": [text]}), other, member), CRC)
    assert unit.install(raw, pipe=pipe) == "installed"
    with pytest.raises(ArchiveError, match="cpio checksum"):
        unit.install(damaged(raw, "other.bin"), pipe=pipe)
    assert unit.loader.get("ustate") == "1"


def test_a_stream_of_staged_members_touches_nothing_until_its_end(unit: Unit1) -> None:
    """Damage in the last of them: the boot environment does not even know that there was an update."""
    one, first = noted("one.img")
    two, second = noted("two.img")
    raw = archive(signed(described({"images": [first, second], "bootenv": SWITCH}), one, two))
    with pytest.raises(HashError):
        unit.install(damaged(raw, "two.img"), pipe=True)
    assert unit.writing() == []
    assert unit.loader.all() == {"slot": "a"}
    assert unit.verdict()["result"] == "refused"


def test_whatever_order_the_members_have(unit: Unit1) -> None:
    """A file and a stream of the same archive end the same."""
    dice = random.Random(3)
    members = [noted(f"m{index}.img", 100 + index, installed_directly=bool(index % 2)) for index in range(6)]
    text = described({"images": [text for _, text in members], "bootenv": SWITCH})
    for _ in range(5):
        shuffled = dice.sample([member for member, _ in members], len(members))
        done = []
        for pipe in (False, True):
            unit.did.clear()
            assert unit.install(archive(signed(text, *shuffled)), pipe=pipe) == "installed"
            done.append(unit.writing())
        assert done[0] == done[1]
