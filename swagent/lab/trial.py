"""A trial update of a real board: power, prompt, install, reboot, confirm; and what came of it."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from shlex import quote
from typing import NamedTuple

from swagent.errors import LabError, SettingsError, TrialFailed

from .client import DeviceInfo, LabClient, size_of
from .errors import Gone, NotSupported, NotThere, TookTooLong
from .items import ItemType
from .plan import Plan, filled
from .talk import Talk

STEPS = ("image", "boot", "install", "reboot", "confirm", "version")
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_GIVEN_UP = r"is (?:ROLLED_BACK|FAILED)"
_PAUSE_S = 2.0
_ENTER = r"press Enter to activate this console"
_ASKS = r"assword: ?$"
_LEASE_MARGIN_S = 600.0
_SAID_LINES = 6
_LOGIN_TRIES = 5


class Step(NamedTuple):
    """What came of one step; ``problem`` is "" of one that went well, and has a sentence of one that did not."""

    name: str
    seconds: float
    problem: str = ""
    output: str = ""


class Report(NamedTuple):
    """What came of a trial.

    Attributes:
        device: its name.
        image: the image's path.
        steps: those that were begun, in order; one that failed is the last, but for ``off``, which is there only if the
            board could not be switched off at the end.
        left: the steps that were not begun.
        console: all that the board said.
    """

    device: str
    image: str
    steps: tuple[Step, ...]
    left: tuple[str, ...]
    console: bytes

    @property
    def passed(self) -> bool:
        """Whether the board runs the image and keeps it."""
        return self.failed is None

    @property
    def failed(self) -> Step | None:
        """The step that failed."""
        return next((step for step in self.steps if step.problem), None)

    def raise_if_failed(self) -> None:
        """Raises TrialFailed when the verdict is fail."""
        step = self.failed
        if step is not None:
            raise TrialFailed(f"{step.name}: {step.problem}")


class Trial:
    """A board and a plan for it.

    Args:
        client: of its server.
        device: its name, or number.
        plan: how it is used.
        told: called with a step's name when it begins, and with what came of it.
        log: gets what the board says, as it says it.
        clock: seconds that only grow.
        sleep: waits.
    """

    def __init__(
        self,
        client: LabClient,
        device: str,
        plan: Plan,
        *,
        told: Callable[[str, Step | None], None] = lambda name, step: None,
        log: Callable[[bytes], None] = lambda data: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._device = device
        self._plan = plan
        self._told = told
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._number = client.find(ItemType.DEVICE, device)
        self._check(next(client.device(self._number)))

    def run(self, image: str, *, leave_on: bool = False) -> Report:
        """Update the board; it is leased meanwhile where the server has leases, and switched off at the end.

        Args:
            image: path of the ``.swu``.
            leave_on: leave it on.

        Raises:
            SettingsError: the image cannot be read.
            LabError: the board is somebody else's, or cannot be switched off at the beginning.
        """
        plan, said = self._plan, bytearray()
        steps: list[Step] = []
        left: tuple[str, ...] = ()

        def hear(data: bytes) -> None:
            said.extend(data)
            self._log(data)

        with ExitStack() as stack:
            try:
                file = stack.enter_context(open(image, "rb"))
            except OSError as exc:
                raise SettingsError(f"cannot read {image}: {exc.strerror}") from exc
            stack.enter_context(self._leased())
            self._client.change_mode(self._number, plan.off)
            if not leave_on:
                stack.callback(self._off, steps)
            wanted = [name for name in STEPS if self._applies(name)]
            values = {"size": str(size_of(file) or 0), "name": quote(os.path.basename(image))}
            talk = stack.enter_context(Talk(self._client, self._console(), plan.prompt, hear, self._clock))
            boot_id = ""
            for name in wanted:
                begun_s = self._clock()
                self._told(name, None)
                problem = output = ""
                try:
                    if name == "image":
                        self._client.write(self._volume(), self._target(), file, length_bytes=size_of(file))
                    elif name == "boot":
                        self._client.change_mode(self._number, plan.on)
                        boot_id = self._boot(talk)
                    elif name == "install":
                        output = self._command(talk, filled(plan.install, values), plan.install_s)
                    elif name == "reboot":
                        self._reboot(talk, boot_id)
                    elif name == "confirm":
                        output = self._confirmed(talk)
                    else:
                        output = self._command(talk, plan.version, plan.command_s)
                        self._must_say(output, plan.expected)
                except TrialFailed as exc:
                    problem, output = exc.message, exc.hint
                except LabError as exc:
                    problem, output = exc.message, exc.hint
                steps.append(Step(name, self._clock() - begun_s, problem, output))
                self._told(name, steps[-1])
                if problem:
                    break
            left = tuple(wanted[len(steps) :])
        return Report(self._device, image, tuple(steps), left, bytes(said))

    # -- steps

    def _off(self, steps: list[Step]) -> None:
        """The end; that it fails must not cost the report."""
        begun_s = self._clock()
        try:
            self._client.change_mode(self._number, self._plan.off)
        except LabError as exc:
            steps.append(Step("off", self._clock() - begun_s, exc.message, exc.hint))
            self._told("off", steps[-1])

    def _applies(self, name: str) -> bool:
        if name == "image":
            return bool(self._plan.storage)
        if name == "confirm":
            return bool(self._plan.confirm)
        return name != "version" or bool(self._plan.version)

    def _boot(self, talk: Talk) -> str:
        """Wait for the shell; the name of this boot."""
        plan, until_s = self._plan, self._clock() + self._plan.boot_s
        pattern = f"(?:{plan.prompt})|(?:{_ENTER})"
        if plan.user:
            pattern += f"|(?:{plan.login})"
        for _ in range(_LOGIN_TRIES):
            left_s = max(until_s - self._clock(), 0.0)
            try:
                said = talk.expect(pattern, left_s / 2).text
            except TookTooLong:  # the kernel may have talked into it
                talk.type("\n")
                said = talk.expect(pattern, left_s / 2, "the prompt of the board").text
            if re.search(_ENTER.encode(), said):
                talk.type("\n")
            elif plan.user and re.search(plan.login.encode(), said, re.MULTILINE):
                talk.type(f"{plan.user}\n")
                if plan.password:
                    talk.expect(_ASKS, plan.command_s, "the question for a password")
                    talk.type(f"{plan.password}\n")
            else:
                return talk.run(BOOT_ID, plan.command_s).output.strip()
        raise TrialFailed(f"{plan.user or 'nobody'} cannot log in")

    def _reboot(self, talk: Talk, before: str) -> None:
        plan = self._plan
        if plan.reboot:
            talk.forget()
            # the old shell must not ask for a command again while the board goes down
            talk.type(f"{plan.reboot} && sleep 3600\n")
        else:
            self._client.change_mode(self._number, plan.off)
            talk.forget()
            self._client.change_mode(self._number, plan.on)
        if self._boot(talk) == before:
            raise TrialFailed("the board has not rebooted", hint=f"{plan.reboot or plan.on!r} did not do it")

    def _command(self, talk: Talk, command: str, timeout_s: float) -> str:
        answer = talk.run(command, timeout_s)
        if answer.status:
            last = "\n".join(answer.output.splitlines()[-_SAID_LINES:])
            raise TrialFailed(f"the command ended with status {answer.status}", hint=last)
        return answer.output

    def _confirmed(self, talk: Talk) -> str:
        """Ask again while nothing is decided: the board's own service may still run the checks."""
        plan, until_s = self._plan, self._clock() + self._plan.confirm_s
        while True:
            output = talk.run(plan.confirm, plan.command_s).output
            decided = re.search(f"(?:{plan.confirmed})|(?:{_GIVEN_UP})", output, re.MULTILINE)
            if decided or self._clock() >= until_s:
                self._must_say(output, plan.confirmed)
                return output
            self._sleep(_PAUSE_S)

    def _must_say(self, output: str, pattern: str) -> None:
        if not re.search(pattern, output, re.MULTILINE):
            last = "\n".join(output.splitlines()[-_SAID_LINES:])
            said = last.splitlines()[-1] if last else "nothing"
            raise TrialFailed(f"the board says {said!r}, and not {pattern!r}", hint=last)

    # -- parts of the device

    def _check(self, state: DeviceInfo) -> None:
        """What the plan names is there. Raises NotThere."""
        for what, name, known in (
            ("console", self._plan.console, state.consoles),
            ("volume", self._plan.storage, state.volumes),
            ("mode", self._plan.off, state.modes),
            ("mode", self._plan.on, state.modes),
        ):
            if (name and name not in known) or (what == "console" and not known):
                raise NotThere(
                    f"{self._device} has no {what} {name!r}", hint=f"it has {', '.join(known) or 'none'}"
                )

    def _console(self) -> int:
        consoles = next(self._client.device(self._number)).consoles
        name = self._plan.console or next(iter(consoles))
        return self._there("console", name, consoles[name])

    def _volume(self) -> int:
        """The storage, which may come a little after the mode that brings it."""
        until_s = self._clock() + self._plan.command_s
        while True:
            number = next(self._client.device(self._number)).volumes[self._plan.storage]
            if number is not None or self._clock() >= until_s:
                return self._there("volume", self._plan.storage, number)
            self._sleep(0.5)

    def _there(self, what: str, name: str, number: int | None) -> int:
        if number is None:
            raise Gone(f"{what} {name} of {self._device} is not there now")
        return number

    def _target(self) -> str:
        if self._plan.target:
            return self._plan.target
        targets = [one.name for one in self._client.targets(self._volume())[0]]
        if len(targets) != 1:
            raise NotThere(
                f"volume {self._plan.storage} has {len(targets)} targets",
                hint=f"the plan must name one: {', '.join(targets)}",
            )
        return targets[0]

    @contextmanager
    def _leased(self) -> Iterator[None]:
        plan = self._plan
        held = "swagent.lease.owner" in self._client.properties(ItemType.DEVICE, self._number)
        seconds = 2 * plan.boot_s + plan.install_s + plan.confirm_s + 8 * plan.command_s + _LEASE_MARGIN_S
        try:
            self._client.lease(self._number, seconds=seconds, reason="a trial update")
        except NotSupported:  # Boardswarm's own server has no leases
            yield
            return
        try:
            yield
        finally:
            if not held:  # else it was ours before, and stays so
                with suppress(LabError):  # it ends by itself, and the verdict must be told
                    self._client.release(self._number)
