"""sw-description, in libconfig or JSON, to ``model.Description``; and the language of settings files."""

from .describe import SIZE_MAX_BYTES, parse, parse_with_warnings, read_libconfig
from .hooks import Hooks, amended
from .outline import Outline, outline

__all__ = [
    "SIZE_MAX_BYTES",
    "Hooks",
    "Outline",
    "amended",
    "outline",
    "parse",
    "parse_with_warnings",
    "read_libconfig",
]
