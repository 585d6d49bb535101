"""One update, from the first byte to the commit.

Order (swu format §6.2, with everything that can be known beforehand moved to the front): description, plan, gates,
preflight; staged members and scripts verified; in-progress mark; partitions and direct members in archive order;
pre-install scripts; staged members; post-install scripts; everything made durable; scripts that switch what boots; boot
environment in one step, last.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from swagent.errors import (
    ArchiveError,
    Cancelled,
    CertificateTimeError,
    DeviceError,
    PreflightRefused,
    RolledBack,
    ScriptError,
    SwagentError,
    VersionRefused,
)
from swagent.events import Event
from swagent.handlers.options import read_options
from swagent.handlers.readback import wanted
from swagent.hw.sync import FileSync
from swagent.model import (
    Artifact,
    Description,
    Fate,
    Kind,
    Needs,
    Phase,
    Plan,
    Planned,
)
from swagent.stream import Archive, ArtifactData, Member, Source
from swagent.stream.pipeline import drain
from swagent.versions import compare

from .codecs import codec_for
from .context import SessionContext
from .env import FLOOR_VARIABLE, SessionEnv
from .intake import Intake, take_in
from .journal import Journal, State, Transaction, kept_targets, kept_variables, raised, recover, short
from .members import Members, Workspace, named
from .planning import Planner, judge_size, with_stream_fates
from .report import row, verdict_facts
from .rig import Inspection, Policy, Rig

if TYPE_CHECKING:
    from .goodtime import GoodTime


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
        self._committed = False
        self._workspace = Workspace(policy.tmpdir, self._id)
        self._started_s = rig.clock.monotonic_s()
        self._partitions_done = False
        self._good_time: GoodTime | None = None
        # a dry run leaves no trace
        self._journal: Journal | None = None if policy.dry_run else rig.journal
        self._transaction = Transaction(self._journal, rig.clock, self._id)
        self._ctx = SessionContext(
            hw=rig.hw,
            env=self._env,
            sync=self._sync,
            bus=rig.bus,
            clock=rig.clock,
            session=self._id,
            tmpdir=self._workspace.path,
            chain=self._install_chained,
            cancelled=cancelled,
            dry_run=policy.dry_run,
            verify_write=policy.verify_write,
        )
        self._members = Members(self._archive, policy, self._ctx, self._workspace)
        if hasattr(source, "waiting"):  # it can be stopped while it waits
            source.waiting = self._ctx.checkpoint
        if hasattr(source, "tell"):  # it has something to say
            source.tell = self._ctx.log

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
            self._members.close()
            self._workspace.remove()
        return result

    def _run(self) -> str:
        self._ctx.tell("update.started", facts={"source": self._source.name, "size": self._source.size_bytes})
        self._end_what_was_cut()
        intake, members = self._take_in()
        self._refuse_what_rolled_back(intake)
        description, warnings = self._describe(intake)
        self._env = self._ctx.env = SessionEnv(
            self._rig.bootloader,
            transaction_marker=self._policy.transaction_marker and description.transaction_marker,
            state_marker=self._policy.state_marker and description.state_marker,
            dry_run=self._policy.dry_run,
        )
        plan = self._plan(description, members)
        self._transaction.reached(
            State.PLANNED,
            version=short(description.version),
            selection=str(self._policy.selection) if self._policy.selection else "",
        )
        for warning in (*warnings, *self._planner.warnings):
            self._ctx.log("warn", warning)
        if self._nothing_to_do(plan):
            return self._end("nothing-to-do", plan)
        for gate in self._rig.gates:
            gate.check(plan, self._rig.unit)
        self._judge_floor(plan)
        self._transaction.reached(State.AUTHORIZED)
        plan = self._preflight(plan)
        self._transaction.reached(State.PREFLIGHTED, targets=kept_targets(_targets(plan)))
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

    # -- what earlier updates left

    def _end_what_was_cut(self) -> None:
        if self._journal is None:
            return
        found = recover(self._journal, self._rig.bootloader, self._rig.clock)
        if self._journal.problem:
            self._note("journal", self._journal.problem)
        if found is not None:
            self._note("cut", found.message)

    def _note(self, about: str, message: str) -> None:
        self._ctx.tell("update.noted", message=message, facts={"about": about})

    def _refuse_what_rolled_back(self, intake: Intake) -> None:
        from swagent.crypto.digest import sha256

        self._transaction.reached(State.RECEIVED)
        signer = short(f"{intake.signer.label} ({intake.signer.scheme})") if intake.signer else ""
        digest = sha256(intake.text).hexdigest()
        self._transaction.reached(State.VERIFIED, digest=digest, signer=signer)
        if self._rig.journal is None:
            return
        for refusal in self._rig.journal.refusals():
            if refusal.digest == digest:
                raise RolledBack(
                    f"this image ({refusal.version or 'without a version'}) was rolled back here before",
                    hint="install a corrected one, or forget it with `swagent confirm --clear`",
                )
        if self._rig.journal.problem:
            self._note("journal", self._rig.journal.problem)

    def _judge_floor(self, plan: Plan) -> None:
        """The gate refuses what is below the floor; here is noted that somebody let it in."""
        policy, version = self._policy, plan.description.version
        if policy.below_floor and policy.floor and compare(version, policy.floor) < 0:
            self._note("floor", f"release {version} is below the floor {policy.floor}: {policy.below_floor}")
            self._transaction.reached(State.AUTHORIZED, below_floor=short(policy.below_floor))

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
        try:
            intake = take_in(
                self._archive,
                policy.trust,
                policy.aes_key,
                size_max_bytes=policy.description_size_max_bytes,
                now_s=self._good_now_s,
            )
        except CertificateTimeError as exc:
            if self._good_time is not None:
                exc.hint = f"{exc.hint}; {self._good_time.explanation}"
            raise
        if intake.signer is not None:
            self._ctx.tell(
                "description.verified", facts={"signer": intake.signer.label, "scheme": intake.signer.scheme}
            )
        else:
            self._ctx.tell("description.unsigned")
        members = {member.name: member for member in self._archive.index()} if self._source.seekable else None
        return intake, members

    def _good_now_s(self) -> float:
        """What time it is for certificates; a wrong clock is told."""
        from .goodtime import GoodTime

        self._good_time = GoodTime(self._rig.state_folder, self._rig.clock)
        if self._good_time.problem:
            self._ctx.log("warn", self._good_time.problem)
        return self._good_time.now_s

    def _keep_good_time(self) -> None:
        if self._good_time is None:
            return
        try:
            self._good_time.keep()
        except DeviceError as exc:  # the update is committed: this undoes nothing
            self._ctx.log("warn", exc.message)

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
        if self._journal is not None:
            self._journal.prepare()
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
        return plan._replace(
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
        needs: Needs = named(planned.artifact, lambda: look(planned.artifact, options, self._ctx))
        return planned._replace(needs=needs)

    # -- reading without writing

    def _read_everything(
        self, plan: Plan, rest: Iterator[Member], members: Mapping[str, Member] | None
    ) -> None:
        """A dry run: every member is read, decrypted, decompressed, hashed and thrown away."""
        self._ctx.steps = plan.steps
        wanted = _by_member(plan)
        for member in rest:
            uses = wanted.pop(member.name, [])
            for planned in uses:
                judge_size(planned.artifact, member)  # of a file the planner did
            if not uses:
                self._members.pass_over(member)
            elif members is None and len(uses) > 1:
                self._members.stage(uses[0].artifact, member)
                for planned in uses:
                    self._read_one(planned.artifact, self._members.open_staged(planned.artifact))
            else:
                for planned in uses:
                    self._read_one(planned.artifact, self._members.open(planned.artifact, member))
        _nothing_missing(wanted)

    def _read_one(self, art: Artifact, data: ArtifactData) -> None:
        self._ctx.begin_step(art, data.size_bytes)
        self._ctx.tell("artifact.started")
        named(art, lambda: drain(data))
        self._ctx.tell("artifact.done", facts={"dry_run": True})
        self._ctx.end_step()

    # -- writing

    def _write(self, plan: Plan, rest: Iterator[Member], members: Mapping[str, Member] | None) -> None:
        env = self._env
        if members is not None:
            self._verify_beforehand(plan, members)
        try:
            for name, value in plan.description.bootenv.items():
                env.stage(name, value)
            self._install_members(plan, rest, members)
            self._sync.flush()
            self._begin()
            self._run_scripts(plan, Phase.PREINSTALL)
            self._apply_partitions(plan)
            for planned in plan.entries:
                if planned.fate is Fate.STAGED:
                    self._install_staged(planned, members)
            self._sync.flush()
            self._run_scripts(plan, Phase.POSTINSTALL, switching=False)
            self._sync.flush()
            self._run_scripts(plan, Phase.POSTINSTALL, switching=True)
            self._commit(plan)
            if env.pending:
                self._ctx.tell("bootenv.done", facts={"variables": list(env.pending)})
        except BaseException as exc:
            self._fail(plan, exc)
            raise
        # the update is installed: what fails from here on is told, but undoes nothing
        self._keep_good_time()
        self._write_versions(plan)
        self._run_command(self._policy.post_update, plan, "post-update")

    def _commit(self, plan: Plan) -> None:
        """Switch: the boot environment in one step, and the journal on both sides of it."""
        env, record = self._env, self._transaction.record
        tested = bool(env.pending and env.commit) and plan.description.reboot is not False
        floor = None
        if self._journal is not None and not tested:
            known = self._journal.read().floor
            floor = raised(known, record.version)
            if self._policy.floor_in_env and env.commit and raised(self._policy.floor, floor) == floor:
                env.stage(FLOOR_VARIABLE, floor)
        self._transaction.reached(State.WRITTEN, variables=kept_variables(env.commit), tested=tested)
        if env.commit:
            self._transaction.store()  # a cut from here on is judged by the boot environment
        env.succeed()
        self._committed = True
        self._transaction.reached(State.COMMITTED)
        if not tested:
            self._transaction.reached(State.CONFIRMED)
        try:
            self._transaction.store(floor=floor)
        except SwagentError as exc:  # it is installed: the next start sees that in the boot environment
            self._ctx.log("error", f"the journal could not be written: {exc.message}")

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
                named(art, lambda art=art, member=member: drain(self._members.open(art, member, stored=True)))  # type: ignore[misc]  # lambda defaults
                judged.add((art.filename, art.sha256))
        for planned in plan.scripts:
            if planned.artifact.filename and self._card(planned.artifact).data:
                self._members.lay_out_script(
                    planned.artifact, self._members.open(planned.artifact, members[planned.artifact.filename])
                )
        for name, member in members.items():
            if name not in wanted:
                self._members.pass_over(member)

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
                    self._install_one(planned, self._members.open(planned.artifact, member))
        _nothing_missing(wanted)

    def _take_from_stream(self, plan: Plan, member: Member, uses: list[Planned]) -> None:
        if not uses:
            self._members.pass_over(member)
            return
        for planned in uses:
            judge_size(planned.artifact, member)
        if len(uses) == 1 and uses[0].fate is Fate.DIRECT:
            self._apply_partitions(plan)
            self._install_one(uses[0], self._members.open(uses[0].artifact, member))
            return
        self._members.stage(uses[0].artifact, member)
        for planned in uses:
            if planned.fate is Fate.SCRIPT:
                self._members.lay_out_script(planned.artifact, self._members.open_staged(planned.artifact))

    def _begin(self) -> None:
        """From now on the device is no longer as it was: the first write follows."""
        if not self._begun:
            self._transaction.reached(State.WRITING)
            self._transaction.store()
            self._begun = True
            self._env.begin()

    def _apply_partitions(self, plan: Plan) -> None:
        if self._partitions_done:
            return
        self._partitions_done = True
        self._begin()
        for planned in plan.entries:
            if planned.fate is Fate.APPLY:
                worker, options = self._worker(planned.artifact)
                self._step(planned, None, lambda p, w=worker, o=options: w.apply(p.artifact, o, self._ctx))  # type: ignore[misc]  # lambda defaults

    def _install_staged(self, planned: Planned, members: Mapping[str, Member] | None) -> None:
        art = planned.artifact
        if members is None:
            data = self._members.open_staged(art)
        else:
            data = self._members.open(art, members[art.filename])
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
            named(art, lambda: work(planned))
        except SwagentError as exc:
            ctx.tell("artifact.failed", message=exc.message)
            raise
        ctx.tell(
            "artifact.done",
            message="verified, read back" if self._reads_back(art) else "verified",
            facts={"seconds": round(self._rig.clock.monotonic_s() - begun_s, 3)},
        )
        ctx.end_step()

    def _run_scripts(self, plan: Plan, phase: Phase, *, switching: bool | None = None) -> None:
        """All scripts, in their order; or only those whose handlers do, or do not, change what boots."""
        for planned in plan.scripts:
            if switching in (None, self._card(planned.artifact).switches):
                self._run_script(planned.artifact, phase)

    def _run_script(self, art: Artifact, phase: Phase) -> None:
        ctx = self._ctx
        worker, options = self._worker(art)
        if phase is not Phase.POSTFAILURE:
            ctx.checkpoint()
        ctx.begin_step(art, None)
        ctx.tell("script.started", facts={"phase": phase.value})
        try:
            named(art, lambda: worker.run(art, options, phase, ctx))
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
            done = "the update is installed, but " if self._committed else ""
            raise ScriptError(
                f"{done}the {what} command ended with status {status}", hint=f"it was: {command}"
            )

    def _write_versions(self, plan: Plan) -> None:
        if self._policy.versions_file:
            from .inventory import merge, write_versions

            installed = [p.artifact for p in plan.entries if p.fate is not Fate.SKIPPED]
            for name in write_versions(
                self._policy.versions_file, merge(self._rig.unit.installed, installed)
            ):
                self._ctx.log("warn", f"{name!r} cannot be written to {self._policy.versions_file}")

    def _fail(self, plan: Plan, exc: BaseException) -> None:
        """Undo what can be undone, run the post-failure phase, leave the mark; nothing here hides ``exc``."""
        ctx = self._ctx
        self._sync.discard()
        ctx.end_step()
        for planned in plan.scripts if self._begun else ():
            art = planned.artifact
            if art.filename and self._card(art).data and not self._members.is_laid_out(art):
                ctx.log("info", f"post-failure script {art.label} had not arrived yet")
                continue
            try:
                self._run_script(planned.artifact, Phase.POSTFAILURE)
            except SwagentError as later:
                ctx.log("error", f"post-failure script: {later.message}")
                break
        try:
            self._env.fail()
        except SwagentError as later:
            ctx.log("error", f"the failed state could not be stored: {later.message}")
        if self._begun:
            self._transaction.reached(State.FAILED, message=short(str(exc)))
            try:
                self._transaction.store()
            except SwagentError as later:
                ctx.log("error", f"the journal could not be written: {later.message}")

    # -- small things

    def _card(self, art: Artifact) -> Any:
        return self._planner.handler(art).card

    def _reads_back(self, art: Artifact) -> bool:
        return self._card(art).reads_back and wanted(art, always=self._policy.verify_write)

    def _worker(self, art: Artifact) -> tuple[Any, Any]:
        cls = self._planner.handler(art)
        return cls(), read_options(cls.Options, art)[0]

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
                "entries": [row(planned) for planned in plan.entries],
                "scripts": [row(planned) for planned in plan.scripts],
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
        if self._committed:
            result = "installed"  # what failed came after it, and the exit code tells
        else:
            exc.wrote = self._begun
            result = "cancelled" if isinstance(exc, Cancelled) else "failed" if self._begun else "refused"
        self._ctx.end_step()
        self._ctx.tell(
            "update.verdict",
            message=exc.message,
            facts={**verdict_facts(exc, result), "seconds": self._seconds()},
        )

    def _seconds(self) -> float:
        return round(self._rig.clock.monotonic_s() - self._started_s, 3)


def _targets(plan: Plan) -> list[str]:
    return [p.needs.target for p in plan.entries if p.needs is not None and p.needs.target]


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
