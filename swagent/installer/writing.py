"""What an update writes, in order, up to the commit (swu format §6.2); and what is undone when it fails."""

from collections.abc import Callable, Iterator, Mapping

from swagent.clock import Clock
from swagent.errors import HandlerError, SwagentError
from swagent.handlers.readback import wanted as wants_reading_back
from swagent.hw.sync import FileSync
from swagent.model import Artifact, Fate, Phase, Plan, Planned, UserDataFailure
from swagent.stream import ArtifactData, Member
from swagent.stream.pipeline import drain

from .context import SessionContext
from .env import FLOOR_VARIABLE, SessionEnv
from .inventory import Installed, merge, write_versions
from .journal import (
    Journal,
    State,
    Transaction,
    confirmed_by_others,
    kept_targets,
    kept_variables,
    kept_versions,
    raised,
    short,
)
from .members import Members
from .pieces import judge_first, judge_size, pieces_of
from .planning import by_member, nothing_missing
from .rig import Policy
from .workers import Workers, named


class Writing:
    """Writes one plan; use it once.

    Args:
        plan: what to do.
        cut: targets to which an earlier install of the same image was cut: it can go on there.
        policy: the decisions.
        ctx: what handlers see; hears of every step.
        clock: for how long a step took.
        env: the boot environment, written last.
        sync: makes files durable between the phases.
        workers: the handlers.
        members: opens artifacts.
        transaction: this update's record in the journal.
        journal: None when none is kept.
        installed: the components that are installed, before the update.

    Attributes:
        begun: whether anything on the device may have changed.
        committed: whether the update is installed.
        plan: what to do; an entry that turned out to be skipped is told here.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        cut: frozenset[str],
        policy: Policy,
        ctx: SessionContext,
        clock: Clock,
        env: SessionEnv,
        sync: FileSync,
        workers: Workers,
        members: Members,
        transaction: Transaction,
        journal: Journal | None,
        installed: Installed,
    ) -> None:
        self.plan = plan
        self._cut = cut
        self._policy = policy
        self._ctx = ctx
        self._clock = clock
        self._env = env
        self._sync = sync
        self._workers = workers
        self._members = members
        self._transaction = transaction
        self._journal = journal
        self._installed = installed
        self._floor: str | None = None
        self._partitions_done = False
        self._forced = False
        self.begun = False
        self.committed = False

    def write(self, rest: Iterator[Member], index: Mapping[str, Member] | None) -> None:
        """Install everything and commit.

        Args:
            rest: the members behind sw-description, in order.
            index: all members by name; None of a stream.

        Raises:
            SwagentError: it failed, and the failure has been marked; or it is installed (``committed``), and the file
                of versions cannot be written.
        """
        if index is not None:
            self._verify_beforehand(index)
        try:
            for name, value in self.plan.description.bootenv.items():
                self._env.stage(name, value)
            self._install_members(rest, index)
            self._sync.flush()
            self._begin()
            self._run_scripts(Phase.PREINSTALL)
            self._apply_partitions()
            for planned in self.plan.entries:
                if planned.fate is Fate.STAGED:
                    self._install_staged(planned, index)
            self._sync.flush()
            self._run_scripts(Phase.POSTINSTALL, switching=False)
            self._sync.flush()
            self._run_scripts(Phase.POSTINSTALL, switching=True)
            self._commit()
        except BaseException as exc:
            self._fail(exc)
            raise
        self._settle()

    # -- members

    def _verify_beforehand(self, index: Mapping[str, Member]) -> None:
        """Of a file: judge everything that is not streamed, and lay out the scripts, before anything is written."""
        judged: set[tuple[str, bytes | None]] = set()
        for planned in self.plan.entries:
            if planned.fate not in (Fate.STAGED, Fate.DIRECT):
                continue
            art = planned.artifact
            first = self._policy.verify_first or planned.verify_first
            for piece in pieces_of(art) if planned.fate is Fate.STAGED or first else ():
                if (piece.name, piece.sha256) not in judged:
                    data = self._members.open_stored(art, index[piece.name])
                    named(art, lambda data=data: drain(data))  # type: ignore[misc]  # lambda defaults
                    judged.add((piece.name, piece.sha256))
            self._members.open(
                art, index[art.filename]
            )  # its chunk table, if it has one, is read and must fit
        for planned in self.plan.scripts:
            art = planned.artifact
            if art.filename and self._workers.card(art).data:
                self._members.lay_out_script(art, self._members.open(art, index[art.filename]))
        wanted = by_member(self.plan)
        for name, member in index.items():
            if name not in wanted:
                self._members.pass_over(member)

    def _install_members(self, rest: Iterator[Member], index: Mapping[str, Member] | None) -> None:
        """Take the members as they come: install direct ones; of a stream, stage the others."""
        wanted = by_member(self.plan)
        for member in rest:
            uses = wanted.pop(member.name, [])
            if index is None:
                for name in self._take_from_stream(member, uses):
                    wanted.pop(name, None)
                continue
            for planned in uses:
                if planned.fate is Fate.DIRECT and planned.artifact.filename == member.name:
                    self._install_direct(planned, member)
        nothing_missing(wanted)

    def _take_from_stream(self, member: Member, uses: list[Planned]) -> tuple[str, ...]:
        """Install, stage or pass over what has come; the names of all members that this took from the stream."""
        if not uses:
            self._members.pass_over(member)
            return ()
        for planned in uses:
            judge_size(planned.artifact, member)
        if len(uses) == 1 and uses[0].fate is Fate.DIRECT:
            judge_first(uses[0].artifact, member)
            self._install_direct(uses[0], member)
            return tuple(piece.name for piece in pieces_of(uses[0].artifact))
        self._members.stage(uses[0].artifact, member)
        for planned in uses:
            if planned.fate is Fate.SCRIPT:
                self._members.lay_out_script(planned.artifact, self._members.open_staged(planned.artifact))
        return ()

    def _install_direct(self, planned: Planned, member: Member) -> None:
        data = self._members.open(planned.artifact, member, resume=self._was_cut(planned))
        self._apply_partitions()  # only now: a chunk table that does not fit is no reason to begin
        self._install_one(planned, data)

    def _install_staged(self, planned: Planned, index: Mapping[str, Member] | None) -> None:
        try:
            self._open_and_install(planned, index)
        except HandlerError as exc:
            if not planned.user_data:
                raise
            self._user_data_failed(planned, index, exc)

    def _user_data_failed(
        self, planned: Planned, index: Mapping[str, Member] | None, exc: HandlerError
    ) -> None:
        """The unit runs without it: somebody may decide to go on, or to write it by force."""
        ctx, decision = self._ctx, self._policy.user_data_failed(planned.artifact, exc.message)
        if decision is UserDataFailure.FAIL:
            raise exc
        facts: dict[str, object] = {"reason": exc.message}
        if decision is UserDataFailure.FORCE:
            ctx.tell("userdata.forced", message="it is written by force, from its beginning", facts=facts)
            ctx.steps += 1
            self._forced = True
            try:
                self._open_and_install(planned, index)
            finally:
                self._forced = False
            return
        ctx.tell("userdata.skipped", message="the update goes on without the user's data", facts=facts)
        ctx.end_step()
        skipped = planned._replace(fate=Fate.SKIPPED, reason=f"could not be written: {exc.message}")
        self.plan = self.plan._replace(
            entries=tuple(skipped if entry is planned else entry for entry in self.plan.entries)
        )

    def _open_and_install(self, planned: Planned, index: Mapping[str, Member] | None) -> None:
        art = planned.artifact
        if index is None:
            self._install_one(planned, self._members.open_staged(art, resume=self._was_cut(planned)))
        else:
            self._install_direct(planned, index[art.filename])

    def _was_cut(self, planned: Planned) -> bool:
        return planned.needs is not None and short(planned.needs.target) in self._cut

    # -- steps

    def _begin(self) -> None:
        """From now on the device is no longer as it was: the first write follows."""
        if not self.begun:
            back = self._way_back()
            self._transaction.reached(State.WRITING)
            self._transaction.store()
            self.begun = True
            self._ctx.tell("update.writing")
            self._env.begin(back)

    def _way_back(self) -> Mapping[str, str]:
        """Of an update that is overwritten before its first boot: what has the boot loader start the old copy again."""
        last = self._journal.read().last if self._journal is not None else None
        if (
            last is None
            or last.state is not State.COMMITTED
            or last.boot_id != self._transaction.record.boot_id
            or confirmed_by_others(last, self._env.get)
        ):
            return {}
        # not by files: those of both copies may be the same
        devices = [p.needs.target for p in self.plan.entries if p.needs is not None and not p.artifact.path]
        return {} if set(last.targets).isdisjoint(kept_targets(devices)) else last.before

    def _apply_partitions(self) -> None:
        if self._partitions_done:
            return
        self._partitions_done = True
        self._begin()
        for planned in self.plan.entries:
            if planned.fate is Fate.APPLY:
                self._step(planned, None, self._workers.apply)

    def _install_one(self, planned: Planned, data: ArtifactData) -> None:
        self._step(planned, data.size_bytes, lambda art: self._workers.install(art, data))

    def _step(self, planned: Planned, total_bytes: int | None, work: Callable[[Artifact], None]) -> None:
        """One step of the update, with its news."""
        ctx, art = self._ctx, planned.artifact
        ctx.checkpoint()
        begun_s = self._clock.monotonic_s()
        ctx.begin_step(art, total_bytes)
        ctx.tell("artifact.started", facts={"forced": True} if self._forced else None)
        try:
            work(art)
        except SwagentError as exc:
            ctx.tell(
                "artifact.failed",
                message=exc.message,
                facts={"user_data": True} if planned.user_data else None,
            )
            raise
        card = self._workers.card(art)
        read_back = card.reads_back and wants_reading_back(
            art, always=self._policy.verify_write, unasked=card.reads_back_unasked
        )
        ctx.tell(
            "artifact.done",
            message="verified, read back" if read_back else "verified",
            facts={"seconds": round(self._clock.monotonic_s() - begun_s, 3)},
        )
        ctx.end_step()

    def _has_switch(self) -> bool:
        """Whether a script of the plan changes what boots."""
        return any(self._workers.card(planned.artifact).switches for planned in self.plan.scripts)

    def _run_scripts(self, phase: Phase, *, switching: bool | None = None) -> None:
        """All scripts, in their order; or only those whose handlers do, or do not, change what boots."""
        for planned in self.plan.scripts:
            if switching in (None, self._workers.card(planned.artifact).switches):
                self._ctx.checkpoint()
                self._run_script(planned.artifact, phase)

    def _run_script(self, art: Artifact, phase: Phase) -> None:
        ctx = self._ctx
        ctx.begin_step(art, None)
        ctx.tell("script.started", facts={"phase": phase.value})
        try:
            self._workers.run(art, phase)
        except SwagentError as exc:
            ctx.tell("script.failed", message=exc.message, facts={"phase": phase.value})
            raise
        ctx.tell("script.done", facts={"phase": phase.value})
        ctx.end_step()

    # -- the end

    def _commit(self) -> None:
        """Switch: the boot environment in one step, and the journal on both sides of it."""
        env, record = self._env, self._transaction.record
        switched = bool(env.pending and env.commit) or self._has_switch()
        tested = switched and self.plan.description.reboot is not False
        if self._journal is not None and not tested:
            self._floor = floor = raised(self._journal.read().floor, record.version)
            if self._policy.floor_in_env and env.commit and raised(self._policy.floor, floor) == floor:
                env.stage(FLOOR_VARIABLE, floor)
        self._transaction.reached(
            State.WRITTEN,
            variables=kept_variables(env.commit),
            before=kept_variables(env.before) if tested else {},
            tested=tested,
            **kept_versions(self._policy.versions_file, self._versions()),
        )
        if env.commit:
            self._transaction.store()  # a cut from here on is judged by the boot environment
        env.succeed()
        self.committed = True
        if self._policy.versions_file and not env.commit:
            self._transaction.store()  # there was nothing to switch: a cut from here on costs nothing

    def _settle(self) -> None:
        """Behind the switch: what a cut leaves to the next start (``journal.recover``)."""
        try:
            if self._policy.versions_file:
                for name in write_versions(self._policy.versions_file, self._versions()):
                    self._ctx.log("warn", f"{name!r} cannot be written to {self._policy.versions_file}")
        finally:
            self._transaction.reached(State.COMMITTED, versions={}, versions_file="")
            if not self._transaction.record.tested:
                self._transaction.reached(State.CONFIRMED)
            try:
                self._transaction.store(floor=self._floor)
            except SwagentError as exc:  # it is installed: the next start sees that in the boot environment
                self._ctx.log("error", f"the journal could not be written: {exc.message}")
            if self._env.pending:
                self._ctx.tell("bootenv.done", facts={"variables": list(self._env.pending)})

    def _versions(self) -> dict[str, tuple[str, ...]]:
        """What is installed after this update."""
        return merge(self._installed, (p.artifact for p in self.plan.entries if p.fate is not Fate.SKIPPED))

    def _fail(self, exc: BaseException) -> None:
        """Undo what can be undone, run the post-failure phase, leave the mark; nothing here hides ``exc``."""
        ctx = self._ctx
        ctx.undoing = True
        self._sync.discard()
        ctx.end_step()
        for planned in self.plan.scripts if self.begun else ():
            art = planned.artifact
            if art.filename and self._workers.card(art).data and not self._members.is_laid_out(art):
                ctx.log("info", f"post-failure script {art.label} had not arrived yet")
                continue
            try:
                self._run_script(art, Phase.POSTFAILURE)
            except SwagentError as later:
                ctx.log("error", f"post-failure script: {later.message}")
                break
        try:
            self._env.fail()
        except SwagentError as later:
            ctx.log("error", f"the failed state could not be stored: {later.message}")
        if self.begun:
            self._transaction.reached(State.FAILED, message=short(str(exc)))
            try:
                self._transaction.store()
            except SwagentError as later:
                ctx.log("error", f"the journal could not be written: {later.message}")
