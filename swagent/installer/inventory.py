"""Which component versions are installed: read, compared with what an image offers, written after success (§3)."""

import os
from collections.abc import Iterable, Mapping

from swagent.errors import DeviceError
from swagent.model import Artifact
from swagent.versions import compare

Installed = Mapping[str, tuple[str, ...]]

_FILE_MAX_BYTES = 1024 * 1024


def skip_reason(art: Artifact, installed: Installed) -> str:
    """Why an entry need not be installed; "" when it must be.

    Only an entry with a name, a version and one of the two flags can be skipped, and any installed version of its name
    may be the reason.

    Args:
        art: the entry.
        installed: component name to versions.
    """
    if not art.name or not art.version or not (art.install_if_different or art.install_if_higher):
        return ""
    for version in installed.get(art.name, ()):
        order = compare(art.version, version)
        if art.install_if_different and order == 0:
            return f"{art.name} {version} is installed"
        if art.install_if_higher and order <= 0:
            return f"{art.name} {version} is installed, and {art.version} is not higher"
    return ""


def merge(installed: Installed, artifacts: Iterable[Artifact]) -> dict[str, tuple[str, ...]]:
    """The list after a successful update.

    Args:
        installed: the list before it.
        artifacts: what was installed. One without a version makes its component's version unknown, so it leaves the
            list; one without a name changes nothing.
    """
    result = dict(installed)
    for art in artifacts:
        if art.name and art.version:
            result[art.name] = (art.version,)
        elif art.name:
            result.pop(art.name, None)
    return result


def from_pairs(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Pairs of name and version as a list; a name may come more than once."""
    result: dict[str, tuple[str, ...]] = {}
    for name, version in pairs:
        result[name] = (*result.get(name, ()), version)
    return result


def read_versions(path: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Read a versions file: a line for each component, its name and its version with blanks between.

    Args:
        path: such as /etc/sw-versions; a file that is not there is an empty list.

    Returns:
        name to versions, and a sentence for each line that was left out or cut.

    Raises:
        DeviceError: the file cannot be read, or is larger than 1 MiB.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}, []
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    try:
        with open(fd, "rb") as file:
            content = file.read(_FILE_MAX_BYTES + 1)
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    if len(content) > _FILE_MAX_BYTES:
        raise DeviceError(f"{path} is larger than {_FILE_MAX_BYTES} bytes", path=path)
    return parse_versions(content, where=path)


def parse_versions(content: bytes, *, where: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """As ``read_versions``, of a file's content; ``where`` is its path for the warnings."""
    pairs: list[tuple[str, str]] = []
    warnings: list[str] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        words = line.split()
        if not words:
            continue
        try:
            name, version = words[0].decode(), words[1].decode()
        except (IndexError, UnicodeDecodeError):
            warnings.append(f"{where}:{number}: not a name and a version; the line is left out")
            continue
        if len(words) > 2:
            warnings.append(f"{where}:{number}: what follows {name} {version} is left out")
        pairs.append((name, version))
    return from_pairs(pairs), warnings


def write_versions(path: str, installed: Installed) -> list[str]:
    """Replace a versions file, durably and whole.

    Args:
        path: the file; its folder must be there.
        installed: name to versions.

    Returns:
        names that are not in the file, because a blank in name or version would make another line of it.

    Raises:
        DeviceError: the file cannot be written; the old one is still there.
    """
    from swagent.store import replace

    lines: list[bytes] = []
    left_out: list[str] = []
    for name, versions in installed.items():
        for version in versions:
            line = f"{name}\t\t{version}\n".encode()
            # split as it is when read, so that both agree on what a blank is
            if line.split() == [name.encode(), version.encode()]:
                lines.append(line)
            else:
                left_out.append(name)
    replace(path, b"".join(lines))
    return left_out
