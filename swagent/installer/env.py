"""The boot environment of one session: staged while the update runs, stored in one step when it has succeeded.

Two markers tell a boot loader where an update stands, each of which can be switched off (swu format §6.3):

| moment | ``recovery_status`` | ``ustate`` |
|---|---|---|
| ``begin``, before the first write | ``in_progress`` | 7 |
| ``succeed`` | removed | 1 |
| ``fail`` | ``failed`` | 3 |

``vars`` of an image are stored in an environment of their own right before it.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from swagent.bootloader import Bootloader
from swagent.errors import BootEnvError, SettingsError

TRANSACTION_MARKER = "recovery_status"
STATE_MARKER = "ustate"
FLOOR_VARIABLE = "swagent_floor"

IN_PROGRESS = "7"
CONFIRMED = "0"
INSTALLED = "1"
FAILED = "3"


class Vars:
    """``vars`` of an image (swu format §6.2 step 10).

    Args:
        store: the namespace that they are stored in.
        changes: new value by name; "" removes a variable.
    """

    def __init__(self, store: Bootloader, changes: Mapping[str, str]) -> None:
        self._store = store
        self._changes = dict(changes)
        self._before: dict[str, str | None] = {}

    def check(self) -> None:
        """Whether they could be stored.

        Raises:
            BootEnvError: they could not.
            SettingsError: there is no such namespace.
        """
        self._store.check(self._changes)

    def store(self) -> None:
        """Store them, all or none.

        Raises:
            BootEnvError: they cannot be stored.
            SettingsError: there is no such namespace.
        """
        before = self._store.all()
        self._store.set_many(self._changes)
        self._before = {name: before.get(name) for name in self._changes}

    def take_back(self) -> None:
        """Store again what was there before ``store``, as far as that can be done."""
        with suppress(BootEnvError, SettingsError):
            self._store.set_many(self._before)


class SessionEnv:
    """What handlers see as ``ctx.env`` (a ``handlers.api.BootEnv``), and its end.

    Args:
        bootloader: where it is stored; None when this unit has none: no markers then, and staging is an error.
        transaction_marker: write ``recovery_status``.
        state_marker: write ``ustate``.
        dry_run: store nothing at all.
        variables: what to store right before the boot environment, None for nothing.
    """

    def __init__(
        self,
        bootloader: Bootloader | None,
        *,
        transaction_marker: bool = True,
        state_marker: bool = True,
        dry_run: bool = False,
        variables: Vars | None = None,
    ) -> None:
        self._bootloader = bootloader
        self._transaction_marker = transaction_marker
        self._state_marker = state_marker
        self._dry_run = dry_run
        self._variables = variables
        self._pending: dict[str, str] = {}
        self._begun = False
        self._done = False

    def settle(self, *, transaction_marker: bool, state_marker: bool, variables: Vars | None) -> None:
        """What is only known once the description has been read; arguments as those of the class."""
        self._transaction_marker = transaction_marker
        self._state_marker = state_marker
        self._variables = variables

    @property
    def pending(self) -> Mapping[str, str]:
        """What is staged, in the order in which it was first set; "" removes a variable."""
        return MappingProxyType(self._pending)

    @property
    def commit(self) -> dict[str, str]:
        """All that ``succeed`` would store now, markers included; "" removes a variable.

        Nothing where nothing outlives the process: without a boot loader, or with the one that is called none.
        """
        if self._bootloader is None or self._bootloader.name == "none" or self._dry_run:
            return {}
        markers = {name: value or "" for name, value in self._markers(None, INSTALLED).items()}
        return {**self._pending, **markers}

    def require(self) -> None:
        """For plans that set boot variables: whether there is a boot environment, and one that can be read.

        Raises:
            BootEnvError: there is none, or it cannot be read.
            SettingsError: its settings file cannot be used.
        """
        if self._bootloader is None:
            raise BootEnvError(
                "the image sets boot variables, and no boot loader is configured",
                hint="name one with -B or `bootloader` in the settings; `none` keeps variables in memory only",
            )
        self._bootloader.all()

    def check(self, bootenv: Mapping[str, str]) -> None:
        """Whether an update could begin and end here, as far as that can be told before it begins.

        Args:
            bootenv: the variables that the image sets, of those that are known.

        Raises:
            BootEnvError: markers, variables or ``vars`` could not be stored.
            SettingsError: a settings file cannot be used.
        """
        if self._variables is not None:
            self._variables.check()
        if self._bootloader is not None:
            for changes in (
                self._markers("in_progress", IN_PROGRESS),
                {**self._pending, **bootenv, **self._markers(None, INSTALLED)},
            ):
                if changes:
                    self._bootloader.check(changes)

    def get(self, name: str) -> str | None:
        """The stored value (what is staged is not seen), None if absent or without a boot loader.

        Raises:
            BootEnvError: the environment cannot be read.
            SettingsError: its settings file cannot be used.
        """
        return None if self._bootloader is None else self._bootloader.get(name)

    def stage(self, name: str, value: str, *, override: bool = True) -> None:
        """Set a variable when the update succeeds.

        Args:
            name: of the variable.
            value: "" removes it.
            override: replace what this session has staged for it before.

        Raises:
            BootEnvError: there is no boot loader; a dry run does not need one.
        """
        if self._bootloader is None and not self._dry_run:
            self.require()
        if override or name not in self._pending:
            self._pending[name] = value

    @property
    def before(self) -> dict[str, str]:
        """What ``commit`` replaces, markers apart, as it is stored now; "" where there is nothing.

        Raises:
            BootEnvError: the environment cannot be read.
            SettingsError: its settings file cannot be used.
        """
        if self._bootloader is None or not self.commit:
            return {}
        stored = self._bootloader.all()
        return {name: stored.get(name, "") for name in self._pending}

    def begin(self, back: Mapping[str, str] | None = None) -> None:
        """Mark the update as in progress, once; called before the first write to a target.

        Args:
            back: variables to store in the same step, so that what is overwritten now is not booted.

        Raises:
            BootEnvError: the marker cannot be stored; nothing should be written then.
            SettingsError: the settings file of the boot loader cannot be used.
        """
        if not self._begun:
            self._store({**(back or {}), **self._markers("in_progress", IN_PROGRESS)})
            self._begun = True

    def succeed(self) -> None:
        """Store what is staged and the final markers, in one step: before it the old software boots, after it the new.

        The markers win over staged variables of their names. ``vars`` are stored before, and taken back on failure.

        Raises:
            BootEnvError: it cannot be stored; the update has failed.
            SettingsError: the settings file of the boot loader cannot be used.
        """
        if self._variables is not None:
            self._variables.store()
        try:
            self._store({**self._pending, **self._markers(None, INSTALLED)})
        except (BootEnvError, SettingsError):
            if self._variables is not None:
                self._variables.take_back()
            raise
        self._done = True

    def fail(self) -> None:
        """Mark the update as failed if it had begun, also while streaming; staged variables are dropped.

        Raises:
            BootEnvError: the marker cannot be stored.
            SettingsError: the settings file of the boot loader cannot be used.
        """
        self._pending.clear()
        if self._begun and not self._done:
            self._store(self._markers("failed", FAILED))
            self._done = True

    def _markers(self, transaction: str | None, state: str) -> dict[str, str | None]:
        markers: dict[str, str | None] = {}
        if self._transaction_marker:
            markers[TRANSACTION_MARKER] = transaction
        if self._state_marker:
            markers[STATE_MARKER] = state
        return markers

    def _store(self, changes: Mapping[str, str | None]) -> None:
        if self._bootloader is not None and changes and not self._dry_run:
            self._bootloader.set_many(changes)
