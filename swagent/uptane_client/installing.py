"""Images onto the ECUs that this process installs on: one by one, remembered before each begins."""

from collections.abc import Mapping, Sequence

from swagent.errors import DeadlineError, SwagentError, TransportError
from swagent.model import EcuInstaller, InstallRequest, Outcome, Reader
from swagent.net import Folder
from swagent.uptane.metadata import Target
from swagent.uptane.reports import InstalledImage

from .encrypted import opened
from .parts import Parts
from .passthrough import install_from
from .reporting import Reporting
from .vehicle import DOWNLOAD_FAILED, INSTALL_FAILED, NEEDS_COMPLETION, Pending


class Installing:
    """Hands images to their ECUs.

    Args:
        parts: the Primary's.
        reporting: hears how each ends.
    """

    def __init__(self, parts: Parts, reporting: Reporting) -> None:
        self._parts = parts
        self._reporting = reporting

    def passes(self, target: Target) -> bool:
        """Whether an image is installed as it is fetched: nobody but this process's ECUs needs it."""
        parts = self._parts
        if parts.policy.store or not parts.policy.install:
            return False
        return parts.installers.keys() >= target.ecus.keys() and not parts.images.has(target)

    def mirrors(self, target: Target) -> Sequence[tuple[Folder, str]]:
        """Where an image may lie, in the form in which it travels."""
        parts, form = self._parts, target.travelling
        mirrors = [*parts.director.images(form), *parts.image.images(form)]
        if target.uri and target.uri != "https://example.com/":
            from swagent.net import open_folder

            from .sources import OPTIONS

            base, _, name = target.uri.rpartition("/")
            options = OPTIONS._replace(speed_max=parts.policy.speed_max)
            folder = open_folder(base, options, parts.clock)
            folder.attend(parts.judge)
            mirrors.insert(0, (folder, name))
        return mirrors

    def install(self, targets: Mapping[str, Target]) -> str:
        """Install them all; returns ``installed``, ``pending``, or ``downloaded`` where nothing here installs any.

        Raises:
            SwagentError: one failed; those that follow are not begun.
        """
        parts = self._parts
        result = "downloaded"
        for serial, target in targets.items():
            installer = parts.installers.get(serial)
            if installer is None:
                continue
            passes = self.passes(target)
            correlation = parts.vehicle.fact("correlation") or ""
            step = self._reporting.step
            if passes:
                step("EcuDownloadStarted", serial, target.path)
            step("EcuInstallationStarted", serial, target.path)
            try:
                outcome = self._install(serial, target, installer, correlation, passes=passes)
            except SwagentError as exc:
                if passes:
                    step("EcuDownloadCompleted", serial, target.path, success=False)
                step("EcuInstallationCompleted", serial, target.path, success=False)
                parts.vehicle.drop_pending(serial)
                withheld = passes and isinstance(exc, TransportError | DeadlineError)
                self._reporting.failed(serial, target, DOWNLOAD_FAILED if withheld else INSTALL_FAILED, exc)
                raise
            if passes:
                step("EcuDownloadCompleted", serial, target.path, success=True)
            if outcome.code == NEEDS_COMPLETION:
                step("EcuInstallationApplied", serial, target.path)
                result = "pending"
            else:
                result = "installed" if result == "downloaded" else result
                image = _installed(target)
                parts.vehicle.installed(serial, image, target.release_counter)
                self._reporting.succeeded(serial, image, correlation)
        return result

    def _install(
        self, serial: str, target: Target, installer: EcuInstaller, correlation: str, *, passes: bool
    ) -> Outcome:
        parts = self._parts

        def install(source: Reader) -> Outcome:
            plain = opened(source, target, parts.image_keys.get(serial))
            request = InstallRequest(
                target.path,
                plain,
                target.length_bytes,
                target.hashes,
                "uptane",
                correlation,
                verified=plain is source and not passes,  # what comes out of a cipher is judged as it is read
                checkpoint=parts.checkpoint,
            )
            pending = Pending(
                serial,
                _installed(target),
                target.release_counter,
                correlation,
                parts.boot_id,
                installer.mark(),
            )
            # before it begins: after a cut the installer's own journal tells what became of it
            parts.vehicle.keep_pending(pending)
            return installer.install(request)

        if passes:
            return install_from(self.mirrors(target), target, install, parts.clock.monotonic_s)
        with parts.images.reader(target) as source:
            return install(source)

    def complete_pending(self) -> None:
        """After a reboot: what became of what waited for it."""
        parts = self._parts
        for serial, pending in parts.vehicle.pending().items():
            installer = parts.installers.get(serial)
            done = installer.completed(pending.mark) if installer is not None else None
            if done is None:
                continue
            if done:
                parts.vehicle.installed(serial, pending.image, pending.release_counter)
                self._reporting.succeeded(serial, pending.image, pending.correlation_id)
            else:
                parts.vehicle.drop_pending(serial)
                self._reporting.step(
                    "EcuInstallationCompleted",
                    serial,
                    pending.image.path,
                    success=False,
                    correlation=pending.correlation_id,
                )
                self._reporting.gave_up(
                    serial,
                    pending.image.path,
                    INSTALL_FAILED,
                    "it did not prove good after its reboot",
                    pending.correlation_id,
                )


def _installed(target: Target) -> InstalledImage:
    return InstalledImage(target.path, target.length_bytes, target.hashes)
