"""Archives from HTTP servers: a blocking client that resumes, and sources on top of it. Knows no policy."""

from .folder import Folder, open_folder
from .options import HttpOptions
from .parts import HttpParts, open_parts
from .ranges import HttpRanges, open_ranges, open_stream
from .stream import HttpStream

__all__ = [
    "Folder",
    "HttpOptions",
    "HttpParts",
    "HttpRanges",
    "HttpStream",
    "open_folder",
    "open_parts",
    "open_ranges",
    "open_stream",
]
