"""The boot environment of one session: staged while the update runs, stored in one step when it has succeeded.

Two markers tell a boot loader where an update stands, each of which can be switched off (swu format §6.3):

| moment | ``recovery_status`` | ``ustate`` |
|---|---|---|
| ``begin``, before the first write | ``in_progress`` | 7 |
| ``succeed`` | removed | 1 |
| ``fail`` | ``failed`` | 3 |
"""

from collections.abc import Mapping
from types import MappingProxyType

from swagent.bootloader import Bootloader
from swagent.errors import BootEnvError

TRANSACTION_MARKER = "recovery_status"
STATE_MARKER = "ustate"
FLOOR_VARIABLE = "swagent_floor"

IN_PROGRESS = "7"
CONFIRMED = "0"
INSTALLED = "1"
FAILED = "3"


class SessionEnv:
    """What handlers see as ``ctx.env`` (a ``handlers.api.BootEnv``), and its end.

    Args:
        bootloader: where it is stored; None when this unit has none: no markers then, and staging is an error.
        transaction_marker: write ``recovery_status``.
        state_marker: write ``ustate``.
        dry_run: store nothing at all.
    """

    def __init__(
        self,
        bootloader: Bootloader | None,
        *,
        transaction_marker: bool = True,
        state_marker: bool = True,
        dry_run: bool = False,
    ) -> None:
        self._bootloader = bootloader
        self._transaction_marker = transaction_marker
        self._state_marker = state_marker
        self._dry_run = dry_run
        self._pending: dict[str, str] = {}
        self._begun = False
        self._done = False

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

    def begin(self) -> None:
        """Mark the update as in progress, once; called before the first write to a target.

        Raises:
            BootEnvError: the marker cannot be stored; nothing should be written then.
            SettingsError: the settings file of the boot loader cannot be used.
        """
        if not self._begun:
            self._store(self._markers("in_progress", IN_PROGRESS))
            self._begun = True

    def succeed(self) -> None:
        """Store what is staged and the final markers, in one step: before it the old software boots, after it the new.

        The markers win over staged variables of their names.

        Raises:
            BootEnvError: it cannot be stored; the update has failed.
            SettingsError: the settings file of the boot loader cannot be used.
        """
        self._store({**self._pending, **self._markers(None, INSTALLED)})
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
