"""One update, from the first byte to the commit.

Order (swu format §6.2, with everything that can be known beforehand moved to the front): description, plan, gates,
preflight; staged members and scripts verified; in-progress mark; partitions and direct members in archive order;
pre-install scripts; staged members; post-install scripts; everything made durable; scripts that switch what boots; boot
environment in one step, last.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from swagent.errors import (
    Cancelled,
    CertificateTimeError,
    DeviceError,
    PreflightRefused,
    RolledBack,
    ScriptError,
    SwagentError,
    VersionRefused,
)
from swagent.events import verdict_facts
from swagent.hw.sync import FileSync
from swagent.model import Description, Fate, Kind, Plan, Planned
from swagent.stream import Archive, Member, Source
from swagent.versions import compare

from .codecs import codec_for
from .context import SessionContext
from .database import take_database
from .dryrun import read_everything
from .env import FLOOR_VARIABLE, SessionEnv, Vars
from .intake import Intake, take_in
from .journal import Journal, State, Transaction, cut_targets, kept_targets, recover, short
from .lua import SessionLua, UnrunHooks
from .members import Members
from .pieces import judge_size
from .planning import Planner, by_member, nothing_missing, with_stream_fates
from .report import success_facts, tell_plan
from .rig import Inspection, Policy, Rig
from .tables import tables_of
from .workers import Workers
from .workspace import Workspace
from .writing import Writing

if TYPE_CHECKING:
    from swagent.handlers.api import Handler
    from swagent.parser import Hooks
    from swagent.plugins import Registry

    from .goodtime import GoodTime


class Session:
    """Installs one archive; use it once.

    Args:
        rig: the parts.
        policy: the decisions.
        source: the archive.
        cancelled: asked at every checkpoint whether to stop.
    """

    writing: type[Writing] = Writing
    """What writes; tests put one here that does it wrong."""

    def __init__(
        self, rig: Rig, policy: Policy, source: Source, *, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._rig = rig
        self._policy = policy
        self._source = source
        self._archive = Archive(source)
        session = rig.session or session_name()
        self._started_s = rig.clock.monotonic_s()
        self._good_time: GoodTime | None = None
        # a dry run leaves no trace
        self._journal: Journal | None = None if policy.dry_run else rig.journal
        self._transaction = Transaction(self._journal, rig.clock, session)
        self._sync = FileSync()
        self._env = SessionEnv(rig.bootloader, dry_run=policy.dry_run)
        self._workspace = Workspace(policy.tmpdir, session)
        self._ctx = SessionContext(
            hw=rig.hw,
            env=self._env,
            sync=self._sync,
            bus=rig.bus,
            clock=rig.clock,
            session=session,
            tmpdir=self._workspace.path,
            parts=rig.parts,
            preflight=lambda art: self._workers.preflight_chained(art),
            chain=lambda art, data: self._workers.install_chained(art, data),
            cancelled=cancelled,
            dry_run=policy.dry_run,
            verify_write=policy.verify_write,
            tls=policy.tls,
        )
        self._handlers = rig.handlers.copy()  # what this session adds ends with it
        self._planner = Planner(self._handlers, signed=policy.trust is not None)
        self._lua = self._ctx.lua = SessionLua(
            policy.lua,
            self._ctx,
            self._handlers,
            hardware=rig.unit.hardware,
            selection=policy.selection,
            chain=lambda art, data: self._workers.install_called(art, data),
        )
        self._workers = Workers(self._planner, self._ctx, self._lua)
        self._members = Members(self._archive, policy, self._ctx, self._workspace)
        self._written: Writing | None = None
        source.attend(waiting=self._ctx.checkpoint, tell=self._ctx.log)

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
            self.close()
        return result

    def _run(self) -> str:
        self._ctx.tell("update.started", facts={"source": self._source.name, "size": self._source.size_bytes})
        self._end_what_was_cut()
        intake, members = self._take_in()
        self._refuse_what_rolled_back(intake)
        description, warnings = self._describe(intake)
        self._env.settle(
            transaction_marker=self._policy.transaction_marker and description.transaction_marker,
            state_marker=self._policy.state_marker and description.state_marker,
            variables=self._vars(description),
        )
        plan = self._plan(description, members)
        plan = take_database(plan, intake.rest, self._members)
        self._transaction.reached(
            State.PLANNED,
            version=short(description.version),
            correlation_id=short(self._policy.correlation_id),
            selection=str(self._policy.selection) if self._policy.selection else "",
        )
        for warning in (*warnings, *self._planner.warnings):
            self._ctx.log("warn", warning)
        if self._nothing_to_do(plan):
            return self._end("nothing-to-do", plan)
        for gate in self._rig.gates:
            gate.check(plan, self._rig.unit)
        self._transaction.reached(State.AUTHORIZED)
        self._note_overrides(plan)
        plan = self._preflight(plan)
        self._transaction.reached(State.PREFLIGHTED, targets=kept_targets(_targets(plan)))
        tell_plan(self._ctx, plan, self._rig.unit.hardware, self._policy.selection)
        self._members.expect(tables_of(plan), intake.rest)
        if self._policy.dry_run:
            read_everything(plan, intake.rest, self._members, self._ctx, index=members)
            return self._end("checked", plan)
        rest = intake.rest
        if members is None and any(self._policy.verify_first or p.verify_first for p in plan.entries):
            members = self._keep_whole(plan, rest)
            rest = iter(members.values())
        cut: frozenset[str] = frozenset()
        if self._journal is not None:
            cut = cut_targets(self._journal.read(), self._transaction.record.digest)
        self._run_command(self._policy.pre_update, plan, "pre-update")
        self._written = self.writing(
            plan,
            cut=cut,
            policy=self._policy,
            ctx=self._ctx,
            clock=self._rig.clock,
            env=self._env,
            sync=self._sync,
            workers=self._workers,
            members=self._members,
            transaction=self._transaction,
            journal=self._journal,
            installed=self._rig.unit.installed,
        )
        self._written.write(rest, members)
        # the update is installed: what fails from here on is told, but undoes nothing
        self._keep_good_time()
        self._run_command(self._policy.post_update, plan, "post-update")
        return self._end("installed", self._written.plan)

    @property
    def handlers(self) -> "Registry[Handler]":
        """The handlers that there are for this session: this unit's Lua is asked when it must be."""
        return self._handlers

    def close(self) -> None:
        """End what was started and remove what is temporary; ``run`` and ``inspect`` do so by themselves."""
        self._lua.close()
        self._members.close()
        self._workspace.remove()

    def log(self, level: str, message: str) -> None:
        """A line for the log."""
        self._ctx.log(level, message)

    # -- what earlier updates left

    def _end_what_was_cut(self) -> None:
        if not self._policy.dry_run:
            for path in self._workspace.remove_stale():
                self._ctx.log("info", f"removed {path}, which a killed update left")
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

    def _note_overrides(self, plan: Plan) -> None:
        """Of gates that were not asked because somebody gave a reason: note what they would have refused."""
        policy, version = self._policy, plan.description.version
        if policy.below_floor and policy.floor and compare(version, policy.floor) < 0:
            self._note("floor", f"release {version} is below the floor {policy.floor}: {policy.below_floor}")
            self._transaction.know(below_floor=short(policy.below_floor))
        if policy.over_unconfirmed and self._journal is not None:
            from .gates.fallback import unconfirmed

            last = unconfirmed(self._journal, self._rig.bootloader)
            if last is not None:
                self._note("unconfirmed", f"{last.label} has not been confirmed: {policy.over_unconfirmed}")
                self._transaction.know(over_unconfirmed=short(policy.over_unconfirmed))

    def inspect(self) -> Inspection:
        """Read the head of the archive and plan; touches no device and reads no member but the first ones.

        Raises:
            SwagentError: what an install would refuse as well; gates are left to the caller.
        """
        try:
            intake, members = self._take_in()
            unrun = UnrunHooks() if intake.signer is None else None
            description, warnings = self._describe(intake, unrun)
            if unrun is not None and unrun.met:
                warnings.append(
                    "the Lua code in this image, which nobody vouched for, was not run; it may change this"
                )
            plan = take_database(self._plan(description, members), intake.rest, self._members)
        finally:
            self.close()
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

    def _describe(self, intake: Intake, hooks: "Hooks | None" = None) -> tuple[Description, list[str]]:
        from swagent.parser import parse_with_warnings

        description, warnings = parse_with_warnings(
            intake.text,
            hardware=self._rig.unit.hardware,
            selection=self._policy.selection,
            size_max_bytes=self._policy.description_size_max_bytes,
            hooks=hooks or self._lua,
        )
        if description.reboot is None:  # then its type says (swu format §6.6)
            description = description._replace(reboot=self._policy.reboot.get(description.update_type))
        return description, warnings

    def _vars(self, description: Description) -> Vars | None:
        if not description.variables or self._policy.dry_run:
            return None
        name = description.namespace_for_vars or self._policy.namespace_vars
        if not name or self._rig.namespaces is None:
            raise PreflightRefused(
                "this image sets vars, and nobody says in which namespace",
                hint="name it with namespace-for-vars in sw-description, or namespace-vars in the settings",
            )
        return Vars(self._rig.namespaces(name), description.variables)

    def _plan(self, description: Description, members: Mapping[str, Member] | None) -> Plan:
        plan = self._planner.plan(description, self._rig.unit, members)
        if members is None:
            plan = with_stream_fates(plan)
        for planned in (*plan.entries, *plan.scripts):
            if planned.fate is not Fate.SKIPPED and planned.artifact.cipher:
                codec_for(planned.artifact, 0, self._policy.aes_key)
        return plan

    def _keep_whole(self, plan: Plan, rest: Iterator[Member]) -> dict[str, Member]:
        """Keep a stream in a file: somebody wants everything verified before anything is written."""
        self._ctx.log("info", "the whole update is read before anything is written")
        members = self._members.spool(rest)
        wanted = by_member(plan)
        nothing_missing({name: uses for name, uses in wanted.items() if name not in members})
        for name, uses in wanted.items():
            for planned in uses:
                judge_size(planned.artifact, members[name])
        return members

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
        names = any(
            self._workers.card(p.artifact).kinds & Kind.BOOTENV
            for p in plan.entries
            if p.fate is not Fate.SKIPPED
        )
        if plan.description.bootenv or names or self._env.pending:
            self._env.require()
        known = {**self._env.pending, **plan.description.bootenv}
        if self._policy.floor_in_env and (known or self._env.commit):
            known[FLOOR_VARIABLE] = plan.description.version
        self._env.check(known)
        self._ctx.partitions = tuple(p.artifact for p in plan.entries if p.fate is Fate.APPLY)
        return plan._replace(
            entries=tuple(self._preflight_one(planned) for planned in plan.entries),
            scripts=tuple(self._preflight_one(planned) for planned in plan.scripts),
        )

    def _preflight_one(self, planned: Planned) -> Planned:
        if planned.fate is Fate.SKIPPED:
            return planned
        return planned._replace(needs=self._workers.preflight(planned.artifact))

    # -- before and after

    def _run_command(self, commands: Mapping[str, str] | None, plan: Plan, what: str) -> None:
        command = (commands or {}).get(plan.description.update_type, "")
        if not command:
            return
        status = self._rig.hw.run(["/bin/sh", "-c", command], log=self._ctx.log)
        if status:
            done = "the update is installed, but " if self._written is not None else ""
            raise ScriptError(
                f"{done}the {what} command ended with status {status}", hint=f"it was: {command}"
            )

    # -- the verdict

    def _end(self, result: str, plan: Plan) -> str:
        facts = success_facts(result, plan, self._policy.selection)
        self._ctx.tell("update.verdict", facts={**facts, "seconds": self._seconds()})
        return result

    def _publish_verdict(self, exc: SwagentError) -> None:
        written = self._written
        if written is not None and written.committed:
            result = "installed"  # what failed came after it, and the exit code tells
        else:
            exc.wrote = written is not None and written.begun
            result = "cancelled" if isinstance(exc, Cancelled) else "failed" if exc.wrote else "refused"
        self._ctx.end_step()
        self._ctx.tell(
            "update.verdict",
            message=exc.message,
            facts={**verdict_facts(exc, result), "seconds": self._seconds()},
        )

    def _seconds(self) -> float:
        return round(self._rig.clock.monotonic_s() - self._started_s, 3)


def session_name() -> str:
    """A name that no session had before."""
    return os.urandom(6).hex()


def _targets(plan: Plan) -> list[str]:
    return [p.needs.target for p in plan.entries if p.needs is not None and p.needs.target]
