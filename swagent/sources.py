"""Where updates come from: files, standard input, servers; and their parts."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from swagent.clock import SystemClock
from swagent.errors import DeviceError
from swagent.settings import InstallSettings
from swagent.stream.source import Source, open_source

if TYPE_CHECKING:
    from swagent.net import HttpParts

STANDARD_INPUT = "standard input"


def open_image(path: str) -> tuple[int, str]:
    """A descriptor for an image and what to call it; ``-`` is standard input.

    Raises:
        DeviceError: it cannot be opened.
    """
    if path == "-":
        return 0, STANDARD_INPUT
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), path
    except OSError as exc:
        raise DeviceError(f"cannot open {path}: {exc.strerror}", path=path, errno=exc.errno) from exc


def is_url(word: str) -> bool:
    """Whether an image is named by an address on a server."""
    return word[:8].lower().startswith(("http://", "https://"))


def open_update(word: str, settings: InstallSettings, *, look_only: bool = False) -> Source:
    """An update to be read: a path, ``-`` for standard input, or an address on a server.

    Args:
        word: as it was typed.
        settings: how to fetch.
        look_only: only a little of it will be read, here and there; of a server, only that is fetched if it lets us.

    Raises:
        DeviceError: the file cannot be opened.
        TransportError, DeadlineError: the server does not give it (an install hears of that with its first read).
        UsageError: the URL makes no sense.
        SettingsError: a certificate cannot be used.
        RegistrationError: the library for it is not installed.
    """
    if not is_url(word):
        return open_source(*open_image(word))
    from swagent.net import open_ranges, open_stream, options_from

    options = options_from(settings.download)
    return (open_ranges if look_only else open_stream)(word, options, SystemClock())


def open_parts(
    settings: InstallSettings,
    url: str,
    size_bytes: int,
    parts_max: int,
    *,
    urls: Mapping[str, str] = MappingProxyType({}),
) -> "HttpParts":
    """A file on a server, of which a delta update wants parts; fetched as the group ``delta`` says.

    Args:
        settings: how to fetch.
        url: as the image says.
        size_bytes: of the file as far as it is known.
        parts_max: how many parts are asked for at once.
        urls: file name to where it is instead.

    Raises:
        UsageError: the URL makes no sense.
        SettingsError: a certificate cannot be used.
        RegistrationError: the library for it is not installed.
    """
    from swagent.net import open_parts as open_file
    from swagent.net import options_from

    url = urls.get(url.partition("?")[0].rpartition("/")[2], url)
    given = settings.delta
    options = options_from(given)
    for key, word in (("gatewaytoken", "GatewayToken"), ("targettoken", "TargetToken")):
        if given.get(key):
            options = options._replace(authorization=f"{word} {given[key]}")
    return open_file(url, options, SystemClock(), size_bytes=size_bytes, parts_max=parts_max)


def warnings_of(word: str, settings: InstallSettings) -> list[str]:
    """What is unwise about the way to an update."""
    if is_url(word) and settings.download.get("nocheckcert"):
        return ["nocheckcert is set: anybody can play the server"]
    return []


def save(source: Source, output: str) -> None:
    """Save a stream to a file, durably.

    Raises:
        DeviceError: it cannot be read or written.
        TransportError, DeadlineError: the server does not give it.
    """
    block = memoryview(bytearray(1024 * 1024))
    try:
        with open(output, "wb") as file:
            while n := source.readinto(block):
                file.write(block[:n])
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise DeviceError(f"cannot save to {output}: {exc.strerror}", path=output, errno=exc.errno) from exc
