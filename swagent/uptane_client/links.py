"""Ways from a Secondary to its Primary: the reference's XML-RPC, resources over HTTPS, or the same process."""

import io
import json
from contextlib import ExitStack
from urllib.parse import quote, urlencode

from swagent.clock import Clock
from swagent.errors import TransportError
from swagent.model import Reader
from swagent.net import HttpOptions, open_folder
from swagent.uptane.codecs.base import Codec

from .bundle import ARCHIVE_MAX_BYTES
from .desk import Desk
from .sources import OPTIONS, as_file, as_value

ATTESTATION_MAX_BYTES = 64 * 1024
SMALL_BYTES = 64 * 1024


class RpcLink:
    """XML-RPC, as the reference's Primary speaks it (uptane §5.5); an image is one value, held in memory.

    Args:
        url: of the Primary.
        vin: the vehicle.
        serial: who asks.
        codec: the encoding.
        clock: for time limits.
    """

    def __init__(self, url: str, vin: str, serial: str, codec: Codec, clock: Clock) -> None:
        from swagent.net.rpc import RpcClient

        self._rpc = RpcClient(url, OPTIONS, clock)
        self._vin = vin
        self._serial = serial
        self._codec = codec

    def register(self) -> None:
        """Say who we are; again is fine."""
        self._rpc.call("register_new_secondary", self._serial)

    def attestation(self) -> bytes | None:
        """The newest time attestation; None before the first."""
        value = self._rpc.call("get_time_attestation_for_ecu", self._serial, max_bytes=1 << 20)
        return as_file(value, "get_time_attestation_for_ecu") if value else None

    def metadata(self, *, partial: bool) -> bytes:
        """The archive of all metadata, or the Director's targets alone."""
        return self._bytes(self._rpc.call("get_metadata", self._serial, partial), "get_metadata")

    def update_exists(self) -> bool:
        """Whether there is an image for us."""
        return self._rpc.call("update_exists_for_ecu", self._serial, max_bytes=SMALL_BYTES) is True

    def image(self) -> tuple[str, Reader] | None:
        """The name and the bytes of our image, None when there is none."""
        value = self._rpc.call("get_image", self._serial)
        if not isinstance(value, list) or len(value) != 2:
            raise TransportError("the answer to get_image makes no sense")
        name, data = value
        if name is None or data is None:
            return None
        if not isinstance(name, str):
            raise TransportError("the answer to get_image makes no sense")
        return name, FromMemory(self._bytes(data, "get_image"))

    def submit(self, nonce: int, raw: bytes) -> None:
        """Hand in our report."""
        self._rpc.call("submit_ecu_manifest", self._vin, self._serial, nonce, as_value(raw, self._codec))

    def _bytes(self, value: object, what: str) -> bytes:
        if not isinstance(value, bytes):
            raise TransportError(f"the answer to {what} makes no sense")
        return value


class HttpLink:
    """Resources of the Primary, over TLS where the address says https; images are streamed, and resumed when cut.

    Args:
        url: of the Primary.
        vin: the vehicle.
        serial: who asks.
        options: whom to believe and what to show.
        clock: for time limits.
    """

    def __init__(self, url: str, vin: str, serial: str, options: HttpOptions, clock: Clock) -> None:
        from swagent.net.wire import Client

        base = f"{url.rstrip('/')}/ecu/{quote(serial, safe='')}/"
        self._folder = open_folder(base, options, clock)
        self._client = Client(base, options, clock)
        self._vin = vin

    def register(self) -> None:
        """Say who we are; again is fine."""
        self._client.at("registration").send("PUT", b"", "application/octet-stream", max_bytes=SMALL_BYTES)

    def attestation(self) -> bytes | None:
        """The newest time attestation; None before the first."""
        return self._get("attestation", ATTESTATION_MAX_BYTES)

    def metadata(self, *, partial: bool) -> bytes:
        """The archive of all metadata, or the Director's targets alone."""
        raw = self._get("director-targets" if partial else "metadata", ARCHIVE_MAX_BYTES)
        if raw is None:
            raise TransportError(f"{self._folder.name}: the Primary has no metadata there")
        return raw

    def update_exists(self) -> bool:
        """Whether there is an image for us."""
        return self._get("update", SMALL_BYTES) is not None

    def image(self) -> tuple[str, Reader] | None:
        """The name and the bytes of our image, None when there is none."""
        raw = self._get("update", SMALL_BYTES)
        if raw is None:
            return None
        try:
            facts = json.loads(raw)
            name, fetched = facts["name"], facts["fetched"]
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise TransportError(f"{self._folder.name}: the Primary's answer makes no sense") from exc
        if not isinstance(name, str):
            raise TransportError(f"{self._folder.name}: the Primary's answer makes no sense")
        return (name, self._folder.open("image")) if fetched is True else None

    def submit(self, nonce: int, raw: bytes) -> None:
        """Hand in our report."""
        where = "report?" + urlencode({"vin": self._vin, "nonce": nonce})
        self._client.at(where).send("PUT", raw, "application/octet-stream", max_bytes=SMALL_BYTES)

    def _get(self, name: str, max_bytes: int) -> bytes | None:
        raw = self._folder.get(name, max_bytes)
        if raw is not None and len(raw) > max_bytes:
            raise TransportError(f"{self._folder.name}: {name} has more than {max_bytes} bytes")
        return raw


class LocalLink:
    """The desk of a Primary in the same process, for virtual Secondaries.

    Args:
        desk: the Primary's.
        vin: the vehicle.
        serial: who asks.
    """

    def __init__(self, desk: Desk, vin: str, serial: str) -> None:
        self._desk = desk
        self._vin = vin
        self._serial = serial
        self._open = ExitStack()

    def register(self) -> None:
        """Say who we are; again is fine."""
        self._desk.register(self._serial)

    def attestation(self) -> bytes | None:
        """The newest time attestation; None before the first."""
        return self._desk.attestation(self._serial)

    def metadata(self, *, partial: bool) -> bytes:
        """The archive of all metadata, or the Director's targets alone."""
        return self._desk.metadata(self._serial, partial=partial)

    def update_exists(self) -> bool:
        """Whether there is an image for us."""
        return self._desk.update_exists(self._serial)

    def image(self) -> tuple[str, Reader] | None:
        """The name and the bytes of our image, None when there is none; the file is open until the next report."""
        self._open.close()
        found = self._open.enter_context(self._desk.image(self._serial))
        return (found[0].path, found[1]) if found is not None else None

    def submit(self, nonce: int, raw: bytes) -> None:
        """Hand in our report."""
        self._open.close()
        self._desk.submit(self._vin, self._serial, nonce, raw)


class FromMemory:
    """A ``Reader`` of bytes."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of ``buffer``; 0 at the end."""
        return self._file.readinto(buffer)
