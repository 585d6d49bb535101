"""Bytes to text, and places in it, for both languages."""

from swagent.errors import DescriptionError


def decode(text: bytes, *, where: str) -> str:
    """The text of a description or settings file.

    Args:
        text: UTF-8 without byte order mark.
        where: how messages call it, such as the file's path.

    Raises:
        DescriptionError: not UTF-8, with a byte order mark, or with a NUL.
    """
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = text.count(b"\n", 0, exc.start) + 1
        raise DescriptionError(
            f"{where}:{line}: this is not UTF-8 text", hint="is it encrypted? Then a key is needed to read it"
        ) from exc
    if decoded.startswith("\ufeff"):
        raise DescriptionError(f"{where}: it begins with a byte order mark", hint="save it as plain UTF-8")
    nul = decoded.find("\0")
    if nul >= 0:
        raise DescriptionError(f"{where}:{line_of(decoded, nul)}: there is a NUL character in the text")
    return decoded


def line_of(text: str, offset: int) -> int:
    """The line, counted from 1, in which the character at ``offset`` stands."""
    return text.count("\n", 0, offset) + 1
