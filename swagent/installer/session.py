"""One update, from the first byte to the commit.

Order (swu format §6.2, with everything that can be known beforehand moved to the front): description, plan, gates,
preflight; staged members and scripts verified; in-progress mark; partitions and direct members in archive order;
pre-install scripts; staged members; post-install scripts; everything made durable; boot environment in one step, last.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from swagent.bootloader import Bootloader
from swagent.clock import Clock
from swagent.crypto.cipher import AesKey
from swagent.crypto.signature import Signer, Trust
from swagent.errors import (
    ArchiveError,
    Cancelled,
    DeviceError,
    PreflightRefused,
    ScriptError,
    SwagentError,
    VersionRefused,
)
from swagent.events import Event, EventBus
from swagent.handlers.api import Handler, Hardware
from swagent.handlers.options import read_options
from swagent.hw.sync import FileSync
from swagent.model import (
    Artifact,
    Description,
    Fate,
    Gate,
    Kind,
    Needs,
    Phase,
    Plan,
    Planned,
    Selection,
    Sink,
    Unit,
)
from swagent.plugins import Registry
from swagent.stream import Archive, ArtifactData, Codec, Member, Source, Span
from swagent.stream.pipeline import drain
from swagent.stream.source import FileSource

from .codecs import codec_for
from .context import SessionContext
from .env import SessionEnv
from .intake import Intake, take_in
from .planning import Planner, judge_size, with_stream_fates

SKIPPED_SUM_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Policy:
    """How an update is to be handled; every field is one decision of whoever asked for it.

    Attributes:
        trust: whom to believe; None only when unsigned images were allowed.
        aes_key: for encrypted members and descriptions without a key of their own.
        selection: software set and mode, None when none was chosen.
        dry_run: read and judge everything, write nothing.
        verify_first: read a file whole before the first write.
        verify_cpio_sum: also sum members that have a sha256.
        nothing_is_success: an update of which everything is installed already is no refusal.
        pre_update: shell command before anything is written, by update type.
        post_update: shell command after success, by update type.
        tmpdir: folder for staged members and scripts.
        versions_file: where to write the versions installed, "" for nowhere.
    """

    trust: Trust | None
    aes_key: AesKey | None = None
    selection: Selection | None = None
    description_size_max_bytes: int = 4 * 1024 * 1024
    dry_run: bool = False
    verify_first: bool = False
    verify_cpio_sum: bool = False
    nothing_is_success: bool = False
    transaction_marker: bool = True
    state_marker: bool = True
    pre_update: Mapping[str, str] | None = None
    post_update: Mapping[str, str] | None = None
    tmpdir: str = "/tmp"  # noqa: S108 - SWUpdate's default; the session makes a folder of its own there, mode 0700
    versions_file: str = ""


@dataclass(frozen=True)
class Rig:
    """The parts a session works with; ``app`` puts them together."""

    handlers: Registry[Handler]
    hw: Hardware
    bootloader: Bootloader | None
    bus: EventBus
    clock: Clock
    unit: Unit
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Inspection:
    """What an image holds and what would be done with it."""

    plan: Plan
    signer: Signer | None
    warnings: tuple[str, ...]


class Session:
    """Installs one archive; use it once.

    Args:
        rig: the parts.
        policy: the decisions.
        source: the archive.
        cancelled: asked at every checkpoint whether to stop.
    """

    def __init__(
        self, rig: Rig, policy: Policy, source: Source, *, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._rig = rig
        self._policy = policy
        self._source = source
        self._archive = Archive(source)
        self._id = os.urandom(6).hex()
        self._planner = Planner(rig.handlers, signed=policy.trust is not None)
        self._sync = FileSync()
        self._env = SessionEnv(None)
        self._begun = False
        self._folder = ""
        self._started_s = rig.clock.monotonic_s()
        self._partitions_done = False
        self._staged: dict[str, tuple[Source, int]] = {}
        self._open_fds: list[int] = []
        self._ctx = SessionContext(
            hw=rig.hw,
            env=self._env,
            sync=self._sync,
            bus=rig.bus,
            clock=rig.clock,
            session=self._id,
            tmpdir=self._tmpdir,
            chain=self._install_chained,
            cancelled=cancelled,
            dry_run=policy.dry_run,
        )

    # -- the whole

    def run(self) -> str:
        """Install; returns "installed", "checked" (dry run) or "nothing-to-do".

        Raises:
            SwagentError: refused or failed; the verdict has been published.
        """
        try:
            result = self._run()
        except SwagentError as exc:
            self._publish_verdict(exc)
            raise
        finally:
            self._clean_up()
        return result

    def _run(self) -> str:
        self._ctx.tell("update.started", facts={"source": self._source.name, "size": self._source.size_bytes})
        intake, members = self._take_in()
        description, warnings = self._describe(intake)
        self._env = self._ctx.env = SessionEnv(
            self._rig.bootloader,
            transaction_marker=self._policy.transaction_marker and description.transaction_marker,
            state_marker=self._policy.state_marker and description.state_marker,
            dry_run=self._policy.dry_run,
        )
        plan = self._plan(description, members)
        for warning in (*warnings, *self._planner.warnings):
            self._ctx.log("warn", warning)
        if self._nothing_to_do(plan):
            return self._end("nothing-to-do", plan)
        for gate in self._rig.gates:
            gate.check(plan, self._rig.unit)
        plan = self._preflight(plan)
        self._tell_plan(plan)
        if self._policy.dry_run:
            self._read_everything(plan, intake.rest, members)
            return self._end("checked", plan)
        self._run_command(self._policy.pre_update, plan, "pre-update")
        self._write(plan, intake.rest, members)
        return self._end("installed", plan)

    def log(self, level: str, message: str) -> None:
        """A line for the log."""
        self._ctx.log(level, message)

    def inspect(self) -> Inspection:
        """Read the head of the archive and plan; touches no device and reads no member but the first two.

        Raises:
            SwagentError: what an install would refuse as well; gates are left to the caller.
        """
        intake, members = self._take_in()
        description, warnings = self._describe(intake)
        plan = self._plan(description, members)
        return Inspection(plan, intake.signer, (*warnings, *self._planner.warnings))

    def _take_in(self) -> tuple[Intake, dict[str, Member] | None]:
        policy = self._policy
        intake = take_in(
            self._archive,
            policy.trust,
            policy.aes_key,
            size_max_bytes=policy.description_size_max_bytes,
            now_s=self._rig.clock.now_s(),
        )
        if intake.signer is not None:
            self._ctx.tell(
                "description.verified", facts={"signer": intake.signer.label, "scheme": intake.signer.scheme}
            )
        else:
            self._ctx.tell("description.unsigned")
        members = {member.name: member for member in self._archive.index()} if self._source.seekable else None
        return intake, members

    def _describe(self, intake: Intake) -> tuple[Description, list[str]]:
        from swagent.parser import parse_with_warnings

        return parse_with_warnings(
            intake.text,
            hardware=self._rig.unit.hardware,
            selection=self._policy.selection,
            size_max_bytes=self._policy.description_size_max_bytes,
        )

    def _plan(self, description: Description, members: Mapping[str, Member] | None) -> Plan:
        plan = self._planner.plan(description, self._rig.unit, members)
        if members is None:
            plan = with_stream_fates(plan)
        for planned in (*plan.entries, *plan.scripts):
            if planned.fate is not Fate.SKIPPED and planned.artifact.cipher:
                codec_for(planned.artifact, 0, self._policy.aes_key)
        return plan

    def _nothing_to_do(self, plan: Plan) -> bool:
        if plan.scripts or plan.description.bootenv:
            return False
        if any(planned.fate is not Fate.SKIPPED for planned in plan.entries):
            return False
        if self._policy.nothing_is_success:
            return True
        raise VersionRefused(
            "everything in this image is installed already",
            hint="--allow-nothing makes this a success",
        )

    def _preflight(self, plan: Plan) -> Plan:
        """Ask every handler whether it can do its part; also whether the boot environment can."""
        if self._policy.dry_run:
            return plan
        if plan.description.variables:
            raise PreflightRefused(
                "this image sets vars, which need a libubootenv namespace, and none is configured here",
                hint="put them into bootenv",
            )
        names = any(
            self._card(p.artifact).kinds & Kind.BOOTENV for p in plan.entries if p.fate is not Fate.SKIPPED
        )
        if plan.description.bootenv or names:
            self._env.require()
        return replace(
            plan,
            entries=tuple(self._preflight_one(planned) for planned in plan.entries),
            scripts=tuple(self._preflight_one(planned) for planned in plan.scripts),
        )

    def _preflight_one(self, planned: Planned) -> Planned:
        if planned.fate is Fate.SKIPPED:
            return planned
        worker, options = self._worker(planned.artifact)
        look = getattr(worker, "preflight", None)
        if look is None:
            return planned
        needs: Needs = _named(planned.artifact, lambda: look(planned.artifact, options, self._ctx))
        return replace(planned, needs=needs)

    # -- reading without writing

    def _read_everything(
        self, plan: Plan, rest: Iterator[Member], members: Mapping[str, Member] | None
    ) -> None:
        """A dry run: every member is read, decrypted, decompressed, hashed and thrown away."""
        self._ctx.steps = plan.steps
        wanted = _by_member(plan)
        for member in rest:
            uses = wanted.pop(member.name, [])
            if not uses:
                self._pass_over(member)
            elif members is None and len(uses) > 1:
                self._stage(uses[0].artifact, member)
                for planned in uses:
                    self._read_one(planned.artifact, self._open_staged(planned.artifact))
            else:
                for planned in uses:
                    self._read_one(planned.artifact, self._open(planned.artifact, member))
        _nothing_missing(wanted)

    def _read_one(self, art: Artifact, data: ArtifactData) -> None:
        self._ctx.begin_step(art, data.size_bytes)
        self._ctx.tell("artifact.started")
        _named(art, lambda: drain(data))
        self._ctx.tell("artifact.done", facts={"dry_run": True})
        self._ctx.end_step()

    # -- writing

    def _write(self, plan: Plan, rest: Iterator[Member], members: Mapping[str, Member] | None) -> None:
        env = self._env
        if members is not None:
            self._verify_beforehand(plan, members)
        try:
            self._begun = True
            env.begin()
            for name, value in plan.description.bootenv.items():
                env.stage(name, value)
            self._install_members(plan, rest, members)
            self._sync.flush()
            self._run_scripts(plan, Phase.PREINSTALL)
            self._apply_partitions(plan)
            for planned in plan.entries:
                if planned.fate is Fate.STAGED:
                    self._install_staged(planned)
            self._sync.flush()
            self._run_scripts(plan, Phase.POSTINSTALL)
            self._sync.flush()
            self._write_versions(plan)
            env.succeed()
            if env.pending:
                self._ctx.tell("bootenv.done", facts={"variables": list(env.pending)})
        except BaseException as exc:
            self._fail(plan, exc)
            raise
        self._run_command(self._policy.post_update, plan, "post-update")

    def _verify_beforehand(self, plan: Plan, members: Mapping[str, Member]) -> None:
        """Of a file: judge everything that is not streamed, and lay out the scripts, before anything is written."""
        wanted = _by_member(plan)
        judged: set[tuple[str, bytes | None]] = set()
        for planned in plan.entries:
            first = self._policy.verify_first or planned.artifact.prop("verify-first") == "true"
            if planned.fate is not Fate.STAGED and not (planned.fate is Fate.DIRECT and first):
                continue
            art = planned.artifact
            if (art.filename, art.sha256) not in judged:
                member = members[art.filename]
                _named(art, lambda art=art, member=member: drain(self._open(art, member, stored=True)))  # type: ignore[misc]  # lambda defaults
                judged.add((art.filename, art.sha256))
        for planned in plan.scripts:
            if planned.artifact.filename and self._card(planned.artifact).data:
                self._lay_out_script(
                    planned.artifact, self._open(planned.artifact, members[planned.artifact.filename])
                )
        for name, member in members.items():
            if name not in wanted:
                self._pass_over(member)

    def _install_members(
        self, plan: Plan, rest: Iterator[Member], members: Mapping[str, Member] | None
    ) -> None:
        """Take the members as they come: install direct ones; of a stream, stage the others."""
        wanted = _by_member(plan)
        for member in rest:
            uses = wanted.pop(member.name, [])
            if members is None:
                self._take_from_stream(plan, member, uses)
                continue
            for planned in uses:
                if planned.fate is Fate.DIRECT:
                    self._apply_partitions(plan)
                    self._install_one(planned, self._open(planned.artifact, member))
        _nothing_missing(wanted)

    def _take_from_stream(self, plan: Plan, member: Member, uses: list[Planned]) -> None:
        if not uses:
            self._pass_over(member)
            return
        for planned in uses:
            judge_size(planned.artifact, member)
        if len(uses) == 1 and uses[0].fate is Fate.DIRECT:
            self._apply_partitions(plan)
            self._install_one(uses[0], self._open(uses[0].artifact, member))
            return
        self._stage(uses[0].artifact, member)
        for planned in uses:
            if planned.fate is Fate.SCRIPT:
                self._lay_out_script(planned.artifact, self._open_staged(planned.artifact))

    def _apply_partitions(self, plan: Plan) -> None:
        if self._partitions_done:
            return
        self._partitions_done = True
        for planned in plan.entries:
            if planned.fate is Fate.APPLY:
                worker, options = self._worker(planned.artifact)
                self._step(planned, None, lambda p, w=worker, o=options: w.apply(p.artifact, o, self._ctx))  # type: ignore[misc]  # lambda defaults

    def _install_staged(self, planned: Planned) -> None:
        art = planned.artifact
        if art.filename in self._staged:
            data = self._open_staged(art)
        else:
            member = next(m for m in self._archive.index() if m.name == art.filename)
            data = self._open(art, member)
        self._install_one(planned, data)

    def _install_one(self, planned: Planned, data: ArtifactData) -> None:
        worker, options = self._worker(planned.artifact)

        def install(planned: Planned) -> None:
            worker.install(planned.artifact, options, data, self._ctx)
            if data.readinto(memoryview(bytearray(1))):
                raise ArchiveError(f"the handler {planned.artifact.type!r} left part of its artifact unread")

        self._step(planned, data.size_bytes, install)

    def _install_chained(self, art: Artifact, data: ArtifactData) -> None:
        worker, options = self._worker(art)
        if not hasattr(worker, "install"):
            from swagent.errors import DescriptionError

            raise DescriptionError(f"{art.where}: the handler {art.type!r} takes no data", artifact=art.label)
        worker.install(art, options, data, self._ctx)

    def _step(self, planned: Planned, total_bytes: int | None, work: Callable[[Planned], None]) -> None:
        """One step of the update, with its news."""
        ctx, art = self._ctx, planned.artifact
        ctx.checkpoint()
        begun_s = self._rig.clock.monotonic_s()
        ctx.begin_step(art, total_bytes)
        ctx.tell("artifact.started")
        try:
            _named(art, lambda: work(planned))
        except SwagentError as exc:
            ctx.tell("artifact.failed", message=exc.message)
            raise
        ctx.tell("artifact.done", facts={"seconds": round(self._rig.clock.monotonic_s() - begun_s, 3)})
        ctx.end_step()

    def _run_scripts(self, plan: Plan, phase: Phase) -> None:
        for planned in plan.scripts:
            self._run_script(planned.artifact, phase)

    def _run_script(self, art: Artifact, phase: Phase) -> None:
        ctx = self._ctx
        worker, options = self._worker(art)
        if phase is not Phase.POSTFAILURE:
            ctx.checkpoint()
        ctx.begin_step(art, None)
        ctx.tell("script.started", facts={"phase": phase.value})
        try:
            _named(art, lambda: worker.run(art, options, phase, ctx))
        except SwagentError as exc:
            ctx.tell("script.failed", message=exc.message, facts={"phase": phase.value})
            raise
        ctx.tell("script.done", facts={"phase": phase.value})
        ctx.end_step()

    def _run_command(self, commands: Mapping[str, str] | None, plan: Plan, what: str) -> None:
        command = (commands or {}).get(plan.description.update_type, "")
        if not command:
            return
        status = self._rig.hw.run(["/bin/sh", "-c", command], log=self._ctx.log)
        if status:
            raise ScriptError(f"the {what} command ended with status {status}", hint=command)

    def _write_versions(self, plan: Plan) -> None:
        if self._policy.versions_file:
            from .inventory import merge, write_versions

            installed = [p.artifact for p in plan.entries if p.fate is not Fate.SKIPPED]
            write_versions(self._policy.versions_file, merge(self._rig.unit.installed, installed))

    def _fail(self, plan: Plan, exc: BaseException) -> None:
        """Undo what can be undone, run the post-failure phase, leave the mark; nothing here hides ``exc``."""
        ctx = self._ctx
        self._sync.discard()
        ctx.end_step()
        for planned in plan.scripts:
            try:
                self._run_script(planned.artifact, Phase.POSTFAILURE)
            except SwagentError as later:
                ctx.log("error", f"post-failure script: {later.message}")
                break
        try:
            self._env.fail()
        except SwagentError as later:
            ctx.log("error", f"the failed state could not be stored: {later.message}")

    # -- members

    def _open(self, art: Artifact, member: Member, *, stored: bool = False) -> ArtifactData:
        """A member as ``Data``; with ``stored`` only its stored bytes, for the verdict."""
        verify_sum = art.sha256 is None or self._policy.verify_cpio_sum
        reader = self._archive.open(member, verify_sum=verify_sum)
        if stored:
            return ArtifactData(reader, Codec(art.label, member.size_bytes, art.sha256), self._checkpoint)
        return ArtifactData(
            reader, codec_for(art, member.size_bytes, self._policy.aes_key), self._ctx.progress
        )

    def _checkpoint(self, n_bytes: int) -> None:
        self._ctx.checkpoint()

    def _open_staged(self, art: Artifact) -> ArtifactData:
        source, size_bytes = self._staged[art.filename]
        reader = Span(source, 0, size_bytes, art.filename)
        return ArtifactData(reader, codec_for(art, size_bytes, self._policy.aes_key), self._ctx.progress)

    def _stage(self, art: Artifact, member: Member) -> None:
        """Copy a member of a stream to the temporary folder, as stored; its digest is judged on the way."""
        folder = os.path.join(self._tmpdir(), "staged")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, member.name)
        room = os.statvfs(folder)
        if member.size_bytes > room.f_bavail * room.f_frsize:
            raise DeviceError(
                f"{folder} has no room for {member.name} ({member.size_bytes} bytes)",
                path=folder,
                artifact=art.label,
                hint="set TMPDIR to a larger folder, or mark the entry installed-directly",
            )
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._open_fds.append(fd)
        _named(art, lambda: self._open(art, member, stored=True).pour(Sink(fd)))
        self._staged[member.name] = (FileSource(fd, path), member.size_bytes)

    def _pass_over(self, member: Member) -> None:
        """A member nobody wants: small ones are still judged by their sum, as SWUpdate does."""
        if member.size_bytes <= SKIPPED_SUM_BYTES_MAX:
            drain(
                ArtifactData(
                    self._archive.open(member, verify_sum=True), Codec(member.name, member.size_bytes)
                )
            )

    def _lay_out_script(self, art: Artifact, data: ArtifactData) -> None:
        folder = os.path.join(self._tmpdir(), "scripts")
        os.makedirs(folder, exist_ok=True)
        fd = os.open(
            os.path.join(folder, art.filename), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        try:
            _named(art, lambda: data.pour(Sink(fd)))
        finally:
            os.close(fd)

    # -- small things

    def _card(self, art: Artifact) -> Any:
        return self._planner.handler(art).card

    def _worker(self, art: Artifact) -> tuple[Any, Any]:
        cls = self._planner.handler(art)
        return cls(), read_options(cls.Options, art)[0]

    def _tmpdir(self) -> str:
        if not self._folder:
            folder = os.path.join(self._policy.tmpdir, f"swagent-{self._id}")
            try:
                os.mkdir(folder, 0o700)
            except OSError as exc:
                raise DeviceError(
                    f"cannot make the temporary folder {folder}: {exc.strerror}",
                    path=folder,
                    errno=exc.errno,
                    hint="set TMPDIR to a folder that can be written",
                ) from exc
            self._folder = folder
        return self._folder

    def _clean_up(self) -> None:
        for fd in self._open_fds:
            os.close(fd)
        if self._folder:
            from shutil import rmtree

            rmtree(self._folder, ignore_errors=True)

    def _tell_plan(self, plan: Plan) -> None:
        description = plan.description
        self._ctx.steps = plan.steps
        self._ctx.tell(
            "update.planned",
            facts={
                "version": description.version,
                "description": description.description,
                "hardware": str(self._rig.unit.hardware) if self._rig.unit.hardware else None,
                "selection": str(self._policy.selection) if self._policy.selection else None,
                "dry_run": self._policy.dry_run,
                "reboot": description.reboot is not False,
                "entries": [_row(planned) for planned in plan.entries],
                "scripts": [_row(planned) for planned in plan.scripts],
            },
        )
        for planned in plan.entries:
            if planned.fate is Fate.SKIPPED:
                self._rig.bus.publish(
                    Event(
                        "artifact.skipped",
                        time_s=self._rig.clock.now_s(),
                        session=self._id,
                        artifact=planned.artifact.label,
                        handler=planned.artifact.type,
                        message=planned.reason,
                        facts={"reason": planned.reason},
                    )
                )

    def _end(self, result: str, plan: Plan) -> str:
        reboot = plan.description.reboot is not False and result == "installed"
        self._ctx.tell(
            "update.verdict",
            facts={
                "result": result,
                "exit_code": 0,
                "error": None,
                "version": plan.description.version,
                "selection": str(self._policy.selection) if self._policy.selection else None,
                "next": "reboot to use it" if reboot else "",
                "seconds": self._seconds(),
            },
        )
        return result

    def _publish_verdict(self, exc: SwagentError) -> None:
        result = "cancelled" if isinstance(exc, Cancelled) else "failed" if self._begun else "refused"
        self._ctx.end_step()
        self._ctx.tell(
            "update.verdict",
            message=exc.message,
            facts={**_verdict_facts(exc, result), "seconds": self._seconds()},
        )

    def _seconds(self) -> float:
        return round(self._rig.clock.monotonic_s() - self._started_s, 3)


def refused_early(exc: SwagentError) -> Event:
    """The verdict on an update that was refused before there was a session."""
    return Event("update.verdict", message=exc.message, facts=_verdict_facts(exc, "refused"))


def _verdict_facts(exc: SwagentError, result: str) -> dict[str, object]:
    return {
        "result": result,
        "exit_code": exc.exit_code,
        "error": {
            "class": type(exc).__name__,
            "message": exc.message,
            "hint": exc.hint,
            "artifact": exc.artifact,
            "handler": exc.handler,
        },
        "next": exc.hint,
    }


def _row(planned: Planned) -> dict[str, object]:
    return {
        "artifact": planned.artifact.label,
        "handler": planned.artifact.type,
        "fate": planned.fate.value,
        "reason": planned.reason,
        "target": planned.needs.target if planned.needs else "",
        "bytes": planned.needs.write_bytes if planned.needs else None,
    }


def _by_member(plan: Plan) -> dict[str, list[Planned]]:
    """Which entries use which member."""
    wanted: dict[str, list[Planned]] = {}
    for planned in (*plan.entries, *plan.scripts):
        if planned.fate in (Fate.DIRECT, Fate.STAGED, Fate.SCRIPT) and planned.artifact.filename:
            wanted.setdefault(planned.artifact.filename, []).append(planned)
    return wanted


def _nothing_missing(wanted: Mapping[str, list[Planned]]) -> None:
    for name, uses in wanted.items():
        raise ArchiveError(f"{uses[0].artifact.where}: the archive has no member {name!r}", artifact=name)


def _named(art: Artifact, work: Callable[[], Any]) -> Any:
    """Do some work for an entry; its errors get the entry's and the handler's name."""
    try:
        return work()
    except SwagentError as exc:
        exc.artifact = exc.artifact or art.label
        exc.handler = exc.handler or art.type
        raise
