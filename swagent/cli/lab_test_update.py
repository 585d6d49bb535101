"""``swagent lab test-update``: does a real board take this image, and keep it?"""

import json
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from swagent.errors import SettingsError, UsageError

from .lab_parts import SERVER_OPTIONS, connected
from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.lab.trial import Report, Step

COMMAND = Command(
    name="lab test-update",
    summary="Switch a board on, wait for its prompt, install an image, reboot, and ask whether it was confirmed; exit "
    "91 if not. The board is leased meanwhile, and off afterwards.",
    target="lab_test_update:run",
    arguments=("DEVICE", "IMAGE"),
    options=(
        Option(
            "plan",
            "p",
            "FILE",
            "how the board is used: its prompt, its commands (docs/howto/trial-updates.md)",
        ),
        Option("junit", "", "FILE", "write the report as JUnit XML, with all that the board said"),
        Option("log", "", "FILE", "write what the board says, as it says it"),
        Option("leave-on", "", help="do not switch it off at the end"),
        Option("json", "", help="a JSON object for each step, and one for the verdict"),
        *SERVER_OPTIONS,
    ),
    examples=(
        "swagent lab test-update rpi update.swu --plan rpi.yaml",
        "swagent lab test-update rpi update.swu --plan rpi.yaml --junit report.xml --log console.log",
    ),
)
_ANNOUNCED = {
    "image": "write the image to the board's storage",
    "boot": "switch on, wait for the prompt",
    "install": "install",
    "reboot": "reboot, wait for the prompt",
    "confirm": "ask whether the update was confirmed",
    "version": "ask what runs",
}


def run(args: Args) -> int:
    """Try it; a verdict that is no pass is raised."""
    from contextlib import ExitStack

    from swagent.lab.junit import junit
    from swagent.lab.plan import read_plan
    from swagent.lab.trial import Trial
    from swagent.store.atomic import replace

    device, image = args.arguments
    plan_path, log_path, junit_path = args.get("plan"), args.get("log"), args.get("junit")
    if plan_path is None:
        raise UsageError(
            "test-update needs --plan FILE", hint="docs/howto/trial-updates.md has one to begin with"
        )
    plan, show = read_plan(plan_path), _JsonSteps() if args.on("json") else _Steps()
    with ExitStack() as stack:
        log = None if log_path is None else stack.enter_context(_log(log_path))

        def keep(data: bytes) -> None:
            if log is not None:
                log.write(data)

        client = stack.enter_context(connected(args))
        trial = Trial(client, device, plan, told=show.told, log=keep)
        report = trial.run(image, leave_on=args.on("leave-on"))
    if junit_path is not None:
        try:
            replace(junit_path, junit(report))
        except OSError as exc:
            raise SettingsError(f"cannot write {junit_path}: {exc.strerror}") from exc
    show.verdict(report)
    report.raise_if_failed()
    return 0


def _log(path: str) -> BinaryIO:
    try:
        return open(path, "wb", buffering=0)
    except OSError as exc:
        raise SettingsError(f"cannot write {path}: {exc.strerror}") from exc


class _Steps:
    """A line for each step; on a terminal what is being done stands there meanwhile."""

    def __init__(self) -> None:
        from .terminal import is_terminal, speaks_unicode, wants_colour

        self._live = is_terminal(sys.stdout)
        self._colour = wants_colour(sys.stdout, os.environ)
        self._marks = ("✓", "✗", "…") if speaks_unicode(sys.stdout) else ("ok", "failed", "...")

    def told(self, name: str, step: "Step | None") -> None:
        """A step begins, or has ended."""
        from .units import clean, seconds

        if step is None:
            if self._live:
                sys.stdout.write(f"  {self._marks[2]} {_ANNOUNCED[name]}")
                sys.stdout.flush()
            return
        if self._live:
            sys.stdout.write("\r\x1b[K")
        bad = bool(step.problem)
        mark = self._marks[bad]
        if self._colour:
            mark = f"\x1b[{31 if bad else 32}m{mark}\x1b[0m"
        sys.stdout.write(f"  {mark} {name:<8}  {seconds(step.seconds):>7}\n")
        for line in step.output.splitlines() if bad else ():
            sys.stdout.write(f"      {clean(line)}\n")
        sys.stdout.flush()

    def verdict(self, report: "Report") -> None:
        """The last line."""
        if report.passed:
            from .units import clean

            sys.stdout.write(f"pass: {clean(report.device)} runs {clean(os.path.basename(report.image))}\n")


class _JsonSteps:
    """The same for machines."""

    def told(self, name: str, step: "Step | None") -> None:
        """A step begins, or has ended."""
        facts: dict[str, object] = {"event": "trial.began", "step": name}
        if step is not None:
            facts = {
                "event": "trial.step",
                "step": name,
                "passed": not step.problem,
                "seconds": round(step.seconds, 3),
                "problem": step.problem,
                "output": step.output,
            }
        print(json.dumps(facts), flush=True)

    def verdict(self, report: "Report") -> None:
        """The last line."""
        facts = {
            "event": "trial.verdict",
            "device": report.device,
            "image": report.image,
            "passed": report.passed,
            "skipped": list(report.left),
        }
        print(json.dumps(facts), flush=True)
