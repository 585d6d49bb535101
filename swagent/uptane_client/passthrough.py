"""Installing an image as it is fetched, for a device that has no room to store it.

Its bytes are judged as they pass: the verdict on length and every signed hash arrives with the last read, before which
an installer commits nothing (``InstallRequest.verified``).
"""

from collections.abc import Callable, Sequence

from swagent.errors import (
    DeadlineError,
    FormatError,
    SwagentError,
    TransportError,
    UptaneError,
    VerificationError,
)
from swagent.model import Outcome, Reader
from swagent.net import Folder
from swagent.stream.ring import Producer, Ring
from swagent.uptane.images import JudgedImage, WatchedSpeed
from swagent.uptane.metadata import Target

SLOTS, SLOT_BYTES = 6, 1024 * 1024


def install_from(
    mirrors: Sequence[tuple[Folder, str]],
    target: Target,
    install: Callable[[Reader], Outcome],
    monotonic_s: Callable[[], float],
) -> Outcome:
    """Hand an image on while it is fetched; another mirror is tried when one does not have what was signed.

    Args:
        mirrors: folders, and the image's name in each; tried in this order.
        target: what was signed of it; it is handed on in the form in which it travels.
        install: reads the image to its end.
        monotonic_s: for the watch on speed.

    Raises:
        UptaneError: no mirror has what was signed; the error of the last one that had something.
        TransportError, DeadlineError: no mirror has all of it.
        SwagentError: what was signed cannot be installed.
    """
    failure: SwagentError | None = None
    for folder, name in mirrors:
        try:
            return _install_from_one(folder, name, target.travelling, install, monotonic_s)
        except (UptaneError, TransportError, DeadlineError) as exc:
            if failure is None or isinstance(exc, UptaneError):
                failure = exc
    raise failure or TransportError(f"there is no mirror to fetch {target.path} from")


def _install_from_one(
    folder: Folder,
    name: str,
    form: Target,
    install: Callable[[Reader], Outcome],
    monotonic_s: Callable[[], float],
) -> Outcome:
    source = folder.open(name)
    try:
        watched = WatchedSpeed(source, form.path, monotonic_s)
        passing = _Passing(JudgedImage(watched, form.path, form.length_bytes, form.hashes))
        try:
            return install(passing)
        except UptaneError:
            raise
        except (FormatError, VerificationError) as exc:
            # the installer saw a fault before the last byte: whose fault it is, the signed hashes tell
            try:
                passing.read_on()
            except SwagentError as worse:
                raise worse from exc
            raise
        finally:
            passing.close()
    finally:
        source.close()


class _Passing:
    """A ``Reader`` ahead of whoever reads it: a thread of its own fetches and judges while the device is written.

    It has its first piece already, so that a mirror without the image disturbs no installer.
    """

    def __init__(self, image: JudgedImage) -> None:
        self._producer = Producer(image.readinto, Ring(slots=SLOTS, slot_bytes=SLOT_BYTES))
        self._pieces = iter(self._producer)
        self._left = memoryview(b"")
        self._ended = False
        self._failure: BaseException | None = None
        try:
            self._advance()
        except BaseException:
            self.close()
            raise

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer``; 0 at the end, when all of it was what was signed."""
        if not self._left and not self._ended:
            self._advance()
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def _advance(self) -> None:
        """The next piece. What went wrong once is wrong for ever: nobody may take it for the end by asking again."""
        if self._failure is not None:
            raise self._failure
        try:
            piece = next(self._pieces, None)
        except BaseException as exc:
            self._failure = exc
            raise
        self._ended = piece is None
        self._left = memoryview(b"") if piece is None else piece

    def read_on(self) -> None:
        """To the end, for the verdict alone."""
        while not self._ended:
            self._advance()

    def close(self) -> None:
        """End the thread."""
        self._producer.stop()
