"""What is written in a description before it is one: ``@@NAME@@`` and ``$swupdate_get_size(file)``.

Both come from the tools that people have: swugenerator's variables, and the functions of the Yocto layer meta-swupdate.
``$swupdate_get_sha256(file)`` is filled in later, when the members are known (``fill``).
"""

import re
from collections.abc import Callable, Mapping

from swagent.errors import DescriptionError
from swagent.parser.text import line_of

_VARIABLE = re.compile(r"@@(\w+)@@", re.ASCII)
_FUNCTION = re.compile(r"\$(swupdate_\w+)\(([^()\n]*)\)", re.ASCII)
_SHA256 = "swupdate_get_sha256"
_SIZE = "swupdate_get_size"
_UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')


def expand(text: str, variables: Mapping[str, str], size_of: Callable[[str], int], *, where: str) -> str:
    """Put in variables and sizes.

    Args:
        text: the template.
        variables: name to value. A value stands where its name stood, inside quotes or not, so one that could end a
            string and go on as description is refused.
        size_of: size in bytes of a source file, by name.
        where: the template's path, for messages.

    Raises:
        DescriptionError: a variable or function that nobody defined; the message has its line.
    """
    for name, value in variables.items():
        if _UNSAFE.search(value):
            raise DescriptionError(
                f"variable {name} has a quote, backslash or control character in its value",
                hint="write such characters in the description itself",
            )

    def variable(match: re.Match[str]) -> str:
        name = match[1]
        if name not in variables:
            from difflib import get_close_matches

            near = get_close_matches(name, list(variables), n=1)
            raise DescriptionError(
                f"{where}:{line_of(text, match.start())}: variable {name} is not defined",
                hint=f"define it: -D {name}=VALUE" + (f" (you defined {near[0]})" if near else ""),
            )
        return variables[name]

    # one pass: what a value brings in is text, never again a variable
    expanded = _VARIABLE.sub(variable, text)

    def function(match: re.Match[str]) -> str:
        name, argument = match[1], match[2].strip()
        if name == _SHA256:
            return match[0]
        if name == _SIZE:
            return str(size_of(argument))
        raise DescriptionError(
            f"{where}:{line_of(expanded, match.start())}: ${name}() is not known here",
            hint=f"${_SHA256}(file) and ${_SIZE}(file) are",
        )

    return _FUNCTION.sub(function, expanded)


def fill_digests(value: str, sha256_of: Callable[[str], str]) -> str:
    """Put in ``$swupdate_get_sha256(file)``.

    Args:
        value: a string of the description.
        sha256_of: 64 hex digits, by file name.
    """
    return _FUNCTION.sub(
        lambda match: sha256_of(match[2].strip()) if match[1] == _SHA256 else match[0], value
    )
