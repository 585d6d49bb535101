"""Files that are replaced whole."""

from .atomic import open_replacement, replace

__all__ = ["open_replacement", "replace"]
