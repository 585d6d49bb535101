"""GRUB's environment block: what is read from it, and what is left of it after changes."""

from contextlib import suppress

from swagent.bootloader import grubenv
from swagent.errors import SwagentError

_WHERE = "grubenv"


def one_input(data: bytes) -> None:
    """The bytes are tried as they are, and as lines of a block that is otherwise right."""
    with suppress(SwagentError):
        grubenv.parse(data, _WHERE)
    try:
        block = (grubenv.HEADER + data).ljust(grubenv.SIZE_BYTES, b"#")
        variables = grubenv.parse(block, _WHERE)
        _hold(block, variables)
    except SwagentError:
        return


def _hold(block: bytes, variables: dict[str, str]) -> None:
    known = {name: value for name, value in variables.items() if "\0" not in value}
    for name in known:
        if "\\" in name or "\0" in name:
            return  # such a name is read, and cannot be set
    again = grubenv.change(block, {name: value or None for name, value in known.items()}, _WHERE)
    assert {k: v for k, v in grubenv.parse(again, _WHERE).items() if v} == {
        k: v for k, v in variables.items() if v
    }
    emptied = grubenv.change(block, dict.fromkeys(known), _WHERE)
    assert grubenv.parse(emptied, _WHERE) == {k: v for k, v in variables.items() if k not in known}


def seeds() -> list[bytes]:
    """Blocks and lines of them."""
    return [
        b"a=1\nb=x=y\n#c=comment\nd=\n",
        b"a=one\\\\two\\\nthree\na=again\n",
        b"a=\xff\xfe\xed\xa0\x80\nb=#\\\n",
        b"words\n\n=1\n",
        grubenv.HEADER + b"a=1\n".ljust(999, b"#"),
    ]
