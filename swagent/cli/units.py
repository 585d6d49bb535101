"""Numbers for people: sizes in binary units, times in seconds, and text that cannot play tricks on a terminal."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size(n_bytes: int) -> str:
    """``512 B``, ``1.5 KiB``, ``412 MiB``: three digits or so, binary units."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    value = n_bytes / 1024
    power = 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value /= 1024
        power += 1
    unit = _UNITS[power]
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}"


def rate(bytes_per_s: float) -> str:
    """``1.2 MiB/s``."""
    return f"{size(max(0, int(bytes_per_s)))}/s"


def seconds(time_s: float) -> str:
    """``12.1 s``, and from two minutes on ``3 min 20 s``."""
    if time_s < 119.95:
        return f"{max(0.0, time_s):.1f} s"
    minutes, rest = divmod(round(time_s), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def left(time_s: float) -> str:
    """Time still to go, as ``0:03`` or ``1:02:03``."""
    whole = max(0, int(time_s + 0.999))
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def utc(time_s: float) -> str:
    """ISO 8601 with milliseconds and zone: ``2026-07-01T12:00:00.250Z``."""
    from time import gmtime, strftime

    total_ms = round(time_s * 1000)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(total_ms // 1000))}.{total_ms % 1000:03d}Z"


def seconds_since(text: str) -> float:
    """What ``utc`` was given, 0 for what it has not written."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def clean(text: str) -> str:
    """Text from outside, on one line, with everything made visible that could move a cursor or reorder what is read.

    An image's author chooses names and descriptions; before a signature is verified that is anybody.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def _visible(char: str) -> str:
    if char in "\t\n\r\v\f":
        return " "
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"


def columns(text: str) -> int:
    """How many columns a terminal needs for ``text``."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """``text`` in at most ``width`` columns: cut in the middle, since both ends of a name tell things apart."""
    if columns(text) <= width:
        return text
    if width <= len(ellipsis):
        return ellipsis[:width] if width > 0 else ""
    room = width - len(ellipsis)
    tail = room // 3
    head = _front(text, room - tail)
    return head + ellipsis + _front(text[::-1], tail)[::-1]


def _front(text: str, width: int) -> str:
    taken = 0
    for index, char in enumerate(text):
        taken += columns(char)
        if taken > width:
            return text[:index]
    return text


def pad(text: str, width: int) -> str:
    """``text`` followed by blanks up to ``width`` columns."""
    return text + " " * max(0, width - columns(text))
