"""How an error reads on a terminal: what, where, why, and the way out."""

from swagent.errors import FormatError, Refused, SwagentError, VerificationError

from .units import clean, pad

LAYOUT_COLUMNS = 80
_COLOURS = {"green": "32", "yellow": "33", "red": "31"}


def paint(text: str, colour_name: str, *, colour: bool) -> str:
    """``text`` in green, yellow or red where colours are wanted."""
    return f"\x1b[{_COLOURS[colour_name]}m{text}\x1b[0m" if colour else text


_WORDS = {1: "error", 2: "usage", 75: "busy", 80: "cancelled"}


def _word(error: SwagentError) -> str:
    """An install is refused until it begins to write; elsewhere the kind of error decides."""
    word = _WORDS.get(error.exit_code)
    if word is None:
        judged = isinstance(error, FormatError | VerificationError | Refused)
        word = "refused" if (judged if error.wrote is None else not error.wrote) else "failed"
    return word


def refusal_text(error: SwagentError, width: int, colour: bool) -> str:
    """What went wrong, where, why, and the way out, as lines for stderr.

    Args:
        error: its message's first line is the headline; further lines are details, as they are.
        width: columns to wrap at, 80 at least.
        colour: whether the verdict's word is red.

    Returns:
        Lines, each with its end.
    """
    from textwrap import wrap

    width = max(LAYOUT_COLUMNS, width)
    word = _word(error)
    headline, *details = error.message.split("\n") if error.message else [type(error).__name__]
    code = f"exit {error.exit_code}"
    title = wrap(f"{word}: {clean(headline)}", width - len(code) - 3) or [f"{word}:"]
    title[0] = f"{pad(title[0], min(width - len(code) - 3, 72))}   {code}"
    title[0] = paint(word, "red", colour=colour) + title[0].removeprefix(word)
    lines = [title[0], *(f"  {line}" for line in title[1:])]
    if error.artifact and clean(error.artifact) not in clean(error.message):
        by = f", handler {clean(error.handler)}" if error.handler else ""
        lines.append(f"  artifact {clean(error.artifact)}{by}")
    elif error.handler and not error.artifact and clean(error.handler) not in clean(error.message):
        lines.append(f"  handler {clean(error.handler)}")
    lines += [f"  {clean(detail)}" for detail in details]
    if error.wrote is not None:
        lines.append(
            "  what was being written is incomplete; what boots next is as it was"
            if error.wrote
            else "  nothing was written"
        )
    if error.hint:
        hint = clean(error.hint)
        prefix = "" if hint.startswith(("see ", "did you ", "try ")) else "try: "
        lines += wrap(prefix + hint, width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"
