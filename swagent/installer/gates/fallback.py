"""The gate that keeps the way back: no update over one that runs and has not been confirmed."""

from swagent.bootloader import Bootloader
from swagent.errors import PreflightRefused
from swagent.installer.journal import PENDING, Journal, Record, State, confirmed_by_others
from swagent.model import Plan, Unit


class FallbackGate:
    """Nothing is written while an update that has booted must still prove itself, whatever the boot loader.

    Another one would overwrite the copy that the boot loader may have to go back to. A unit where nothing ever confirms
    has no such time: there it would lock out the second update for good, and it holds nothing up.

    Args:
        journal: what the last update came to.
        bootloader: where others may have confirmed it, by SWUpdate's way: ``ustate=0``.
        checked: whether there are checks for `swagent confirm` to run.
    """

    name = "fallback"

    def __init__(self, journal: Journal, bootloader: Bootloader | None, *, checked: bool = True) -> None:
        self._journal = journal
        self._bootloader = bootloader
        self._checked = checked

    def check(self, plan: Plan, unit: Unit) -> None:
        """Look at the last update.

        Raises:
            PreflightRefused: it runs and is not confirmed.
            BootEnvError: the boot environment cannot be read.
        """
        record = unconfirmed(self._journal, self._bootloader)
        if record is not None and (self._checked or _confirms(self._journal, record)):
            raise PreflightRefused(
                f"the last update, {record.label}, has not been confirmed; another one would overwrite the way back",
                hint="run `swagent confirm`; --over-unconfirmed REASON overrules it, and is kept in the journal",
            )


def unconfirmed(journal: Journal, bootloader: Bootloader | None) -> Record | None:
    """The last update, if it has been booted and nobody has said yet that it is good.

    Raises:
        BootEnvError: the boot environment cannot be read.
        SettingsError: its settings file cannot be used.
    """
    record = journal.read().last
    if record is None or record.state not in PENDING:
        return None
    if record.state is State.COMMITTED and record.boot_id == journal.boot_id:
        return None  # what runs is the way back
    if bootloader is not None and confirmed_by_others(record, bootloader.get):
        return None
    return record


def _confirms(journal: Journal, record: Record) -> bool:
    """Whether anybody has ever had a say here: this update is being tested, or an earlier one was judged."""
    judged = (State.CONFIRMED, State.ROLLED_BACK)
    return record.state is State.TESTING or any(
        older.tested and older.state in judged for older in journal.read().updates[1:]
    )
