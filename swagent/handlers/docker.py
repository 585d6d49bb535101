"""``docker_*``: images for the container engine, and what is done with them afterwards (handlers §2.19)."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from swagent.errors import (
    DeadlineError,
    DescriptionError,
    DeviceError,
    HandlerError,
    PreflightRefused,
    TransportError,
)
from swagent.model import Artifact, Data, Kind, Needs, Phase, Sink

from .api import Card, Context, Engine, chunks, handler
from .options import plain_size

BODY_BYTES_MAX = 1024 * 1024
WITHHELD_BYTES = 256 * 1024
"""How much of an image is kept back until its digest is known: more than the padding behind the last file of a tar."""
_PING_S = 30
_TIMEOUT_S = (1, 86_400)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:[/:@][A-Za-z0-9][A-Za-z0-9_.-]*)*\Z")


@handler("docker_imageload", kinds=Kind.IMAGE)
class ImageLoad:
    """Load a container image, a tar archive as `docker save` writes it, into the container engine.

    The engine keeps what it has been given, so it gets no byte that is not verified: an entry with
    `installed-directly` is copied to the temporary folder first. Without a known size it is sent in chunks.
    """

    class Options(NamedTuple):
        """How long to wait.

        Attributes:
            timeout: seconds that the engine has for its answer, and to take the next bytes
        """

        timeout: int = 600

    def preflight(self, art: Artifact, opt: Options, ctx: Context) -> Needs:
        """Whether the engine is there."""
        _look(art, opt.timeout, ctx)
        return Needs(target="container engine", write_bytes=plain_size(art))

    def install(self, art: Artifact, opt: Options, data: Data, ctx: Context) -> None:
        """Send it, and hear what the engine makes of it.

        Raises:
            HandlerError: the engine refuses it.
            TransportError, DeadlineError: the engine is not there, breaks off or takes too long.
        """
        engine = ctx.hw.container_engine(waiting=ctx.checkpoint, timeout_s=opt.timeout)
        if art.installed_directly:
            _load_spooled(art, engine, data, ctx)
        else:
            _load(art, engine, _withheld(chunks(data)), data.size_bytes)


def _load(art: Artifact, engine: Engine, pieces: Iterator[bytes], size_bytes: int | None) -> None:
    status, body = engine.ask(
        "POST", "/images/load?quiet=1", body=pieces, size_bytes=size_bytes, content_type="application/x-tar"
    )
    if status != 200:
        raise _refusal(art, status, body)
    if next(pieces, None) is not None:
        raise HandlerError(f"the container engine answers before it has all of {art.label}")
    loaded = False
    for said in _objects(body):
        if error := said.get("error"):
            raise HandlerError(f"the container engine refuses {art.label}: {_short(error)}")
        loaded = loaded or "stream" in said
    if not loaded:
        raise HandlerError(f"the container engine does not say that it has loaded {art.label}")


def _load_spooled(art: Artifact, engine: Engine, data: Data, ctx: Context) -> None:
    path = os.path.join(ctx.tmpdir, "container-image")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise DeviceError(f"cannot make {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    try:
        os.unlink(path)  # it lives as long as it is open
        size_bytes = data.pour(Sink(fd))
        with open(fd, "rb", closefd=False) as spooled:
            _load(art, engine, iter(lambda: spooled.read(WITHHELD_BYTES), b""), size_bytes)
    finally:
        os.close(fd)


def _withheld(pieces: Iterator[memoryview]) -> Iterator[bytes]:
    """All bytes, the last ones only when the reader has judged them all."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        if len(kept) >= 2 * WITHHELD_BYTES:
            yield bytes(kept[:-WITHHELD_BYTES])
            del kept[:-WITHHELD_BYTES]
    yield bytes(kept)


class Waits(NamedTuple):
    """How long to wait.

    Attributes:
        timeout: seconds that the engine has for it
    """

    timeout: int = 120


class Named(NamedTuple):
    """What is meant.

    Attributes:
        name: of what
        timeout: seconds that the engine has for it
    """

    name: str
    timeout: int = 120


class MayBeNamed(NamedTuple):
    """What it is to be called.

    Attributes:
        name: without one the engine makes one up
        timeout: seconds that the engine has for it
    """

    name: str | None = None
    timeout: int = 120


class Removed(NamedTuple):
    """What is meant, and whether it has to be there.

    Attributes:
        name: of what
        timeout: seconds that the engine has for it
        allow_missing: succeed when there is none of that name
    """

    name: str
    timeout: int = 120
    allow_missing: bool = False


class _Action:
    """What is done after everything is installed: one request.

    Attributes:
        method: of HTTP.
        target: path and query, with ``{name}`` where a name belongs.
        names: what a name looks like.
    """

    card: ClassVar[Card]
    Options: ClassVar[type]
    method: ClassVar[str] = "POST"
    target: ClassVar[str]
    names: ClassVar[re.Pattern[str]] = _NAME

    def preflight(self, art: Artifact, opt: Any, ctx: Context) -> Needs:
        """Whether the engine is there, and the name can be one."""
        name = getattr(opt, "name", None)
        if name is not None and not self.names.match(name):
            raise DescriptionError(
                f"{art.where or art.label}: property name is {name[:80]!r}, which names nothing"
            )
        _look(art, opt.timeout, ctx)
        return Needs(target=f"container engine: {self.method} {self._target(opt)}")

    def run(self, art: Artifact, opt: Any, phase: Phase, ctx: Context) -> None:
        """Do it in the phase ``postinst``; what is sent is looked at in the phase before, too.

        Raises:
            HandlerError: the engine refuses.
            TransportError, DeadlineError: the engine is not there, breaks off or takes too long.
        """
        if phase is Phase.POSTFAILURE:
            return
        member = _read_object(art, ctx) if self.card.data else None
        if phase is not Phase.POSTINSTALL:
            return
        engine = ctx.hw.container_engine(waiting=ctx.checkpoint, timeout_s=opt.timeout)
        if member is None:
            status, body = engine.ask(self.method, self._target(opt))
        else:
            status, body = engine.ask(
                self.method,
                self._target(opt),
                body=[member],
                size_bytes=len(member),
                content_type="application/json",
            )
        if 200 <= status < 300 or status == 304:  # 304: it was started, or stopped, already
            return
        if status == 404 and getattr(opt, "allow_missing", False):
            ctx.log("info", f"there is no {opt.name}")
            return
        raise _refusal(art, status, body)

    def _target(self, opt: Any) -> str:
        name = getattr(opt, "name", None)
        return self.target.format(name=name) if name else self.target.partition("?")[0]


@handler("docker_imagedelete", kinds=Kind.SCRIPT, streams=False, data=False)
class ImageDelete(_Action):
    """Delete a container image after everything is installed."""

    Options = Removed
    method = "DELETE"
    target = "/images/{name}"
    names = _IMAGE


@handler("docker_imageprune", kinds=Kind.SCRIPT, streams=False, data=False)
class ImagePrune(_Action):
    """Delete all container images that have no name and are not used, after everything is installed."""

    Options = Waits
    target = "/images/prune"


@handler("docker_containercreate", kinds=Kind.SCRIPT, streams=False)
class ContainerCreate(_Action):
    """Create a container after everything is installed; the member is the engine's JSON object for it."""

    Options = MayBeNamed
    target = "/containers/create?name={name}"


@handler("docker_containerdelete", kinds=Kind.SCRIPT, streams=False, data=False)
class ContainerDelete(_Action):
    """Delete a container after everything is installed."""

    Options = Removed
    method = "DELETE"
    target = "/containers/{name}"


@handler("docker_containerstart", kinds=Kind.SCRIPT, streams=False, data=False)
class ContainerStart(_Action):
    """Start a container after everything is installed; one that runs is fine."""

    Options = Named
    target = "/containers/{name}/start"


@handler("docker_containerstop", kinds=Kind.SCRIPT, streams=False, data=False)
class ContainerStop(_Action):
    """Stop a container after everything is installed; one that does not run is fine."""

    Options = Removed
    target = "/containers/{name}/stop"


@handler("docker_networkcreate", kinds=Kind.SCRIPT, streams=False)
class NetworkCreate(_Action):
    """Create a network after everything is installed; the member is the engine's JSON object for it."""

    Options = Waits
    target = "/networks/create"


@handler("docker_networkdelete", kinds=Kind.SCRIPT, streams=False, data=False)
class NetworkDelete(_Action):
    """Delete a network after everything is installed."""

    Options = Removed
    method = "DELETE"
    target = "/networks/{name}"


@handler("docker_volumecreate", kinds=Kind.SCRIPT, streams=False)
class VolumeCreate(_Action):
    """Create a volume after everything is installed; the member is the engine's JSON object for it."""

    Options = Waits
    target = "/volumes/create"


@handler("docker_volumedelete", kinds=Kind.SCRIPT, streams=False, data=False)
class VolumeDelete(_Action):
    """Delete a volume after everything is installed."""

    Options = Removed
    method = "DELETE"
    target = "/volumes/{name}"


def _look(art: Artifact, timeout: int, ctx: Context) -> None:
    """Whether the engine is there, and may be waited for so long."""
    least, most = _TIMEOUT_S
    if not least <= timeout <= most:
        raise DescriptionError(
            f"{art.where or art.label}: timeout goes from {least} to {most} s, not {timeout}"
        )
    engine = ctx.hw.container_engine(waiting=ctx.checkpoint, timeout_s=_PING_S)
    try:
        status, _ = engine.ask("GET", "/_ping")
    except (TransportError, DeadlineError) as exc:
        raise PreflightRefused(exc.message, hint=exc.hint) from exc
    if status != 200:
        raise PreflightRefused(f"the container engine is not well: it answers {status} to a ping")


def _read_object(art: Artifact, ctx: Context) -> bytes:
    """The member of a script, which must be one JSON object."""
    path = ctx.script_path(art)
    try:
        with open(path, "rb") as member:
            text = member.read(BODY_BYTES_MAX + 1)
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if len(text) > BODY_BYTES_MAX:
        raise HandlerError(f"{art.where or art.label} has more than {BODY_BYTES_MAX} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise HandlerError(f"{art.where or art.label} is no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise HandlerError(f"{art.where or art.label} is no JSON object")
    return text


def _objects(text: bytes) -> Iterator[dict[str, Any]]:
    """JSON objects, one after the other."""
    decoder = json.JSONDecoder()
    at = 0
    try:
        said = text.decode().strip()
        while at < len(said):
            found, at = decoder.raw_decode(said, at)
            if not isinstance(found, dict):
                raise ValueError("no object")
            yield found
            while said[at : at + 1].isspace():
                at += 1
    except (ValueError, RecursionError) as exc:
        raise TransportError(f"the container engine's answer makes no sense: {_short(text[:80])}") from exc


def _refusal(art: Artifact, status: int, body: bytes) -> HandlerError:
    try:
        found = json.loads(body)
        reason = found["message"] if isinstance(found, dict) else ""
    except (ValueError, RecursionError, KeyError):
        reason = body[:200]
    why = f": {_short(reason)}" if reason else ""
    return HandlerError(
        f"the container engine answers {art.label} with {status}{why}", hint="its log may say more"
    )


def _short(said: object) -> str:
    """What the engine says, for a message of ours: on one line, and no more than a few words."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    words = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return words if len(words) <= 300 else f"{words[:297]}..."
