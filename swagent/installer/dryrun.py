"""A dry run: every member is read, decrypted, decompressed, hashed and thrown away."""

from collections.abc import Iterator, Mapping

from swagent.model import Artifact, Plan
from swagent.stream import ArtifactData, Member
from swagent.stream.pipeline import drain

from .context import SessionContext
from .members import Members
from .pieces import judge_first, judge_size, pieces_of
from .planning import by_member, nothing_missing
from .workers import named


def read_everything(
    plan: Plan,
    rest: Iterator[Member],
    members: Members,
    ctx: SessionContext,
    *,
    index: Mapping[str, Member] | None,
) -> None:
    """Judge all members of an archive.

    Args:
        plan: which entries want them.
        rest: the members behind sw-description, in order.
        members: opens them.
        ctx: hears of them.
        index: all members by name; None of a stream.

    Raises:
        SwagentError: one is missing or damaged.
    """
    ctx.steps = plan.steps
    wanted = by_member(plan)
    for member in rest:
        uses = wanted.pop(member.name, [])
        for planned in uses:
            judge_size(planned.artifact, member)  # of a file the planner did
        if not uses:
            members.pass_over(member)
        elif index is None and len(uses) > 1:
            members.stage(uses[0].artifact, member)
            for planned in uses:
                if member.name == pieces_of(planned.artifact)[-1].name:
                    _read_one(planned.artifact, members.open_staged(planned.artifact), ctx)
        elif index is None:
            art = uses[0].artifact
            judge_first(art, member)
            _read_one(art, members.open(art, member), ctx)
            for piece in pieces_of(art):
                wanted.pop(piece.name, None)
        else:
            for planned in uses:
                if planned.artifact.filename == member.name:
                    _read_one(planned.artifact, members.open(planned.artifact, member), ctx)
    nothing_missing(wanted)


def _read_one(art: Artifact, data: ArtifactData, ctx: SessionContext) -> None:
    ctx.begin_step(art, data.size_bytes)
    ctx.tell("artifact.started")
    named(art, lambda: drain(data))
    ctx.tell("artifact.done", facts={"dry_run": True})
    ctx.end_step()
