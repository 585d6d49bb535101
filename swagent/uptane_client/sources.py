"""Where a vehicle gets things from: repositories, a Time server, a Director's service; by URL."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from swagent.clock import Clock
from swagent.errors import SlowRetrievalError, TransportError
from swagent.net import Folder, HttpOptions, open_folder
from swagent.uptane.codecs.base import Codec
from swagent.uptane.images import SLOW_BYTES_PER_S
from swagent.uptane.metadata import Key, Target

OPTIONS = HttpOptions(retries=2, retry_wait_s=0.5, timeout_s=20.0, speed_least=int(SLOW_BYTES_PER_S))
METADATA_FOLDER, TARGETS_FOLDER = "metadata", "targets"


class Source(Protocol):
    """One repository."""

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        """A metadata file, None when it is not there.

        Args:
            name: such as ``2.root.json``; a role's name may hold anything, and is quoted here.
            max_bytes: read no more than one byte beyond.

        Raises:
            TransportError: whether it is there cannot be told.
        """
        ...

    def images(self, target: Target) -> Sequence[tuple[Folder, str]]:
        """Where an image may lie: folders, and its name in each."""
        ...

    def attend(self, waiting: Callable[[], None]) -> None:
        """Say who is asked while nothing comes; it may raise to stop."""
        ...


def image_names(target: Target) -> list[str]:
    """How an image may be called: by its plain name, and by those that begin with a hash."""
    folder, slash, name = target.path.rpartition("/")
    hashed = [
        f"{folder}{slash}{target.hashes[word]}.{name}"
        for word in ("sha256", "sha512")
        if word in target.hashes
    ]
    return [target.path, *hashed]


class RepositorySource:
    """One repository: metadata below ``metadata/`` or right at the address, images below ``targets/``.

    Args:
        url: ``http``, ``https`` or ``file``.
        clock: for time limits.
        options: how to talk to a server.

    Raises:
        UsageError: no such address.
        RegistrationError: urllib3 is not installed.
    """

    def __init__(self, url: str, clock: Clock, options: HttpOptions = OPTIONS) -> None:
        base = url.rstrip("/")
        self._below = open_folder(f"{base}/{METADATA_FOLDER}", options, clock)
        self._at = open_folder(base, options, clock)
        self._images = open_folder(f"{base}/{TARGETS_FOLDER}", options, clock)
        self._found: Folder | None = None

    def metadata(self, name: str, max_bytes: int) -> bytes | None:
        """A metadata file, None when it is not there.

        Raises:
            TransportError: whether it is there cannot be told.
            SlowRetrievalError: it comes too slowly.
        """
        from swagent.net.wire import TooSlow

        try:
            return self._metadata(name, max_bytes)
        except TooSlow as exc:
            raise SlowRetrievalError(exc.message, role=name, artifact=name) from exc

    def _metadata(self, name: str, max_bytes: int) -> bytes | None:
        if self._found is not None:
            return self._found.get(name, max_bytes)
        failure: TransportError | None = None
        for folder in (self._below, self._at):
            try:
                raw = folder.get(name, max_bytes)
            except TransportError as exc:
                failure = failure or exc
                continue
            if raw is not None:
                self._found = folder
                return raw
            failure = None
        if failure is not None:
            raise failure
        return None

    def images(self, target: Target) -> Sequence[tuple[Folder, str]]:
        """Where an image may lie."""
        return [(self._images, name) for name in image_names(target)]

    def attend(self, waiting: Callable[[], None]) -> None:
        """Say who is asked while a server brings nothing; it may raise to stop."""
        for folder in (self._below, self._at, self._images):
            folder.attend(waiting)

    def close(self) -> None:
        """Close all connections."""
        for folder in (self._below, self._at, self._images):
            folder.close()


class TimeSource(Protocol):
    """A Time server."""

    def ask(self, nonces: tuple[int, ...]) -> bytes:
        """A signed answer to these nonces, not yet judged.

        Raises:
            TransportError: there is none.
        """
        ...


class RpcTimeSource:
    """A Time server that speaks XML-RPC (uptane §3)."""

    def __init__(self, url: str, codec: Codec, clock: Clock) -> None:
        from swagent.net.rpc import RpcClient

        self._rpc = RpcClient(url, OPTIONS, clock)
        self._codec = codec

    def ask(self, nonces: tuple[int, ...]) -> bytes:
        """A signed answer to these nonces, not yet judged."""
        method = "get_signed_time_der" if self._codec.extension == "der" else "get_signed_time"
        return as_file(self._rpc.call(method, list(nonces), max_bytes=1 << 20), method)


class Unregistered(TransportError):
    """The Director does not know the Primary yet."""


class DirectorService(Protocol):
    """Where reports go."""

    def submit(self, vin: str, primary: str, raw: bytes) -> None:
        """Hand in a vehicle version manifest.

        Raises:
            Unregistered: it was not taken: ``register`` must come first.
            TransportError: it was not taken.
        """
        ...

    def register(self, vin: str, serial: str, hardware_id: str, key: Key, *, primary: bool) -> None:
        """Make an ECU known; one that is known already is no error.

        Raises:
            TransportError: it was refused.
        """
        ...


class RpcDirectorService:
    """A Director's service over XML-RPC (uptane §5.2)."""

    def __init__(self, url: str, codec: Codec, clock: Clock) -> None:
        from swagent.net.rpc import RpcClient

        self._rpc = RpcClient(url, OPTIONS, clock)
        self._codec = codec

    def submit(self, vin: str, primary: str, raw: bytes) -> None:
        """Hand in a vehicle version manifest."""
        from swagent.net.rpc import RemoteFault

        try:
            self._rpc.call("submit_vehicle_manifest", vin, primary, as_value(raw, self._codec))
        except RemoteFault as fault:
            if "UnknownECU" in fault.text:
                raise Unregistered(fault.message) from fault
            raise

    def register(self, vin: str, serial: str, hardware_id: str, key: Key, *, primary: bool) -> None:
        """Make an ECU known; the reference has no words for hardware."""
        from swagent.net.rpc import RemoteFault

        value = {
            "keytype": key.kind,
            "keyid": key.keyid,
            "keyval": {"public": key.public},
            "keyid_hash_algorithms": ["sha256", "sha512"],
        }
        try:
            self._rpc.call("register_ecu_serial", serial, value, vin, primary)
        except RemoteFault as fault:
            if "Spoofing" not in fault.text:
                raise


class HttpDirectorService:
    """A Director's service as aktualizr uses it: ``PUT manifest``, ``POST ecus`` (uptane §6)."""

    def __init__(self, url: str, clock: Clock) -> None:
        from swagent.net.wire import Client

        self._client = Client(url.rstrip("/") + "/", OPTIONS, clock)

    def submit(self, vin: str, primary: str, raw: bytes) -> None:
        """Hand in a vehicle version manifest."""
        self._client.at("manifest").send("PUT", raw, "application/json", max_bytes=1 << 16)

    def register(self, vin: str, serial: str, hardware_id: str, key: Key, *, primary: bool) -> None:
        """Make the Primary known."""
        from swagent.uptane.canonical import encode_compact

        tree = {
            "primary_ecu_serial": serial,
            "ecus": [
                {
                    "ecu_serial": serial,
                    "hardware_identifier": hardware_id,
                    "clientKey": {"keytype": key.kind.upper(), "keyval": {"public": key.public}},
                }
            ],
        }
        self._client.at("ecus").send("POST", encode_compact(tree), "application/json", max_bytes=1 << 16)


class FolderDirectorService:
    """Reports as files, for those who carry them by hand: ``file:`` addresses."""

    def __init__(self, path: str, codec: Codec) -> None:
        self._path = path
        self._codec = codec

    def submit(self, vin: str, primary: str, raw: bytes) -> None:
        """Replace ``manifest-<Primary>.<ext>``."""
        import os

        from swagent.store.atomic import make_folders, replace

        make_folders(self._path)
        replace(os.path.join(self._path, f"manifest-{quote(primary, safe='')}.{self._codec.extension}"), raw)

    def register(self, vin: str, serial: str, hardware_id: str, key: Key, *, primary: bool) -> None:
        """Replace ``ecu-<serial>.json``."""
        import os

        from swagent.store.atomic import make_folders, replace
        from swagent.uptane.canonical import encode_compact

        tree = {"vin": vin, "ecu_serial": serial, "hardware_id": hardware_id, "primary": primary}
        tree["key"] = {"keytype": key.kind, "scheme": key.scheme, "keyval": {"public": key.public}}
        make_folders(self._path)
        replace(os.path.join(self._path, f"ecu-{quote(serial, safe='')}.json"), encode_compact(tree))


def as_value(raw: bytes, codec: Codec) -> Any:
    """A file as XML-RPC carries it: base64 in DER, nested structs in JSON."""
    from swagent.uptane.canonical import load

    return raw if codec.extension == "der" else load(raw)


def as_file(value: Any, what: str) -> bytes:
    """The file that XML-RPC carried.

    Raises:
        TransportError: it is none.
    """
    from swagent.uptane.canonical import encode_compact

    if isinstance(value, bytes):
        return value
    try:
        if isinstance(value, dict):
            return encode_compact(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise TransportError(f"the answer to {what} makes no sense") from exc
    raise TransportError(f"the answer to {what} makes no sense")
