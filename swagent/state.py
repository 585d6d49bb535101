"""What a unit keeps between updates: its journal, its boot environment, the checks of a new system; and the lock."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from swagent.clock import SystemClock
from swagent.errors import Busy, DeviceError, SettingsError, UsageError
from swagent.installer.env import FLOOR_VARIABLE
from swagent.installer.journal import Journal, raised
from swagent.settings import InstallSettings

if TYPE_CHECKING:
    from swagent.bootloader import Bootloader
    from swagent.installer.confirm import Check, Confirmation

FWENV_CONFIG_FILE = "/etc/fw_env.config"
STATE_FOLDER = "/var/lib/swagent"
RUN_FOLDER = "/run/swupdate"
CHECKS_FOLDER = "/etc/swagent/confirm.d"
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
SETTINGS_BYTES_MAX = 1024 * 1024


def make_bootloader(settings: InstallSettings) -> "Bootloader | None":
    """The boot loader that the settings name, or the one that this unit seems to have; None when it has none.

    Raises:
        UsageError: there is none of that name.
        RegistrationError: it cannot be loaded.
    """
    from swagent import bootloader

    name = settings.bootloader or _usual_bootloader(settings)
    if not name:
        return None
    factory = bootloader.registry().get(name)
    if factory is None:
        known = ", ".join(bootloader.registry().names())
        raise UsageError(f"there is no boot loader {name!r}", hint=f"known are {known}")
    return factory(
        {
            "fwenv-config-location": settings.fwenv_config_location,
            "grubenv-path": settings.grubenv_path,
            "ebg-config-paths": settings.ebg_config_paths,
        }
    )


def open_namespace(settings: InstallSettings, name: str) -> "Bootloader":
    """An environment of a YAML fw_env.config, by its name."""
    from swagent.bootloader.uboot import UBoot

    return UBoot({"fwenv-config-location": settings.fwenv_config_location, "fwenv-namespace": name})


def state_directory(settings: InstallSettings, environ: Mapping[str, str]) -> str:
    """Where the journal is: as the settings say, else $STATE_DIRECTORY, else /var/lib/swagent for root.

    Returns:
        "" for nowhere: ``none`` in the settings, or a user who is not root and says nothing.
    """
    if settings.state_directory:
        return "" if settings.state_directory == "none" else settings.state_directory
    folder = environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd lists several with colons
    return folder or (STATE_FOLDER if os.geteuid() == 0 else "")


def make_journal(settings: InstallSettings, environ: Mapping[str, str]) -> Journal | None:
    """The journal of this unit, None where none is kept.

    Raises:
        SettingsError: the kernel does not tell which boot this is.
    """
    folder = state_directory(settings, environ)
    return Journal(folder, boot_id()) if folder else None


def boot_id() -> str:
    """What names the present boot.

    Raises:
        SettingsError: the kernel does not tell.
    """
    return read_file(BOOT_ID_FILE).decode().strip()


def read_floor(journal: Journal | None, loader: "Bootloader | None") -> str:
    """The highest version ever confirmed, as journal and boot environment know it; "" when neither does.

    Raises:
        BootEnvError: the boot environment cannot be read.
    """
    known = journal.read().floor if journal else ""
    return raised(known, (loader.get(FLOOR_VARIABLE) or "") if loader else "")


def make_confirmation(
    settings: InstallSettings, environ: Mapping[str, str], log: Callable[[str, str], None]
) -> "Confirmation":
    """What ``installer.confirm`` works with.

    Raises:
        SettingsError: no journal is kept.
    """
    from swagent.hw import Hardware as RealHardware
    from swagent.hw.identity import RunningSystem
    from swagent.installer.confirm import Confirmation

    journal = make_journal(settings, environ)
    if journal is None:
        raise SettingsError(
            "no journal is kept here, so nothing can be confirmed",
            hint="name its folder with --state-directory, or state-directory in the settings",
        )
    running = RunningSystem()

    def runs_from(device: str) -> bool | None:
        return running.runs_from(device) if running.root() and os.path.exists(device) else None

    return Confirmation(
        journal=journal,
        bootloader=make_bootloader(settings),
        clock=SystemClock(),
        run=RealHardware(temporary_folder(environ)).run,
        runs_from=runs_from,
        slots={str(selection): device for selection, device in settings.slots},
        on_pass=_variables(settings.confirm_bootenv),
        on_fail=_variables(settings.confirm_fail_bootenv),
        floor_in_env=settings.version_floor,
        log=log,
    )


def read_checks(folder: str, *, required: bool) -> "list[Check]":
    """The checks in a folder, in the order of their names: executable files, and ``*.cfg``.

    Args:
        folder: hidden files in it, and those that end with ``~``, are passed over.
        required: whether the folder must be there.

    Raises:
        SettingsError: it cannot be read, or holds what is no check.
    """
    from swagent.installer.confirm import Check, read_check
    from swagent.parser import read_libconfig

    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError as exc:
        if required:
            raise SettingsError(f"cannot list {folder}: {exc.strerror}") from exc
        return []
    except OSError as exc:
        raise SettingsError(f"cannot list {folder}: {exc.strerror}") from exc
    checks = []
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(".") or name.endswith("~"):
            continue
        if name.endswith(".cfg"):
            checks.append(read_check(name, read_libconfig(read_file(path), where=path), path))
        elif os.path.isfile(path) and os.access(path, os.X_OK):
            checks.append(Check(name, (path,)))
        else:
            raise SettingsError(
                f"{path} is no check: neither executable nor a .cfg file",
                hint="chmod +x it, or move it elsewhere",
            )
    return checks


def recover_what_was_cut(settings: InstallSettings, environ: Mapping[str, str]) -> str:
    """Bring an update that was cut to its end; returns what is to be said about it, "" when none was.

    Raises:
        SwagentError: the journal or the boot environment cannot be used, or an update is running.
    """
    from swagent.installer.journal import recover

    journal = make_journal(settings, environ)
    if journal is None:
        return ""
    lock_fd = lock(environ)
    try:
        found = recover(journal, make_bootloader(settings), SystemClock())
    finally:
        os.close(lock_fd)
    told = [journal.problem, found.message if found else ""]
    return "; ".join(each for each in told if each)


def is_busy(environ: Mapping[str, str]) -> bool:
    """Whether an update is running now; False also when that cannot be told."""
    try:
        os.close(lock(environ))
    except Busy:
        return True
    except DeviceError:
        return False
    return False


def lock(environ: Mapping[str, str]) -> int:
    """Take the lock that lets one install run at a time; it is held until the process ends.

    Raises:
        Busy: another install holds it.
        DeviceError: it cannot be made.
    """
    import fcntl

    folder = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder or folder == RUN_FOLDER:  # the daemon's own; the lock is everybody's
        folder = "/run" if os.geteuid() == 0 else temporary_folder(environ)
    path = os.path.join(folder, "swagent.lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise DeviceError(f"cannot open the lock {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise Busy("another update is running", hint=f"wait for it; it holds {path}") from exc
    return fd


def temporary_folder(environ: Mapping[str, str]) -> str:
    """Where temporary folders are made."""
    return environ.get("TMPDIR", "") or "/tmp"  # noqa: S108 - SWUpdate's rule; a private folder is made in it


def _variables(words: tuple[str, ...]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words)


def _usual_bootloader(settings: InstallSettings) -> str:
    return "uboot" if os.path.exists(settings.fwenv_config_location or FWENV_CONFIG_FILE) else ""


def read_file(path: str) -> bytes:
    """A settings file, whole.

    Raises:
        SettingsError: it cannot be read, or is too long.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(SETTINGS_BYTES_MAX + 1)
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    if len(text) > SETTINGS_BYTES_MAX:
        raise SettingsError(f"{path} is longer than {SETTINGS_BYTES_MAX} bytes")
    return text
