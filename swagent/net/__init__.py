"""Archives from HTTP servers: a blocking client that resumes, and sources on top of it. Knows no policy."""

from .exchange import Answer, HttpExchange
from .folder import Folder, open_folder
from .options import HttpOptions, options_from
from .parts import HttpParts, open_parts
from .ranges import HttpRanges, open_ranges, open_stream
from .stream import HttpStream
from .wire import Untrusted

__all__ = [
    "Answer",
    "Folder",
    "HttpExchange",
    "HttpOptions",
    "HttpParts",
    "HttpRanges",
    "HttpStream",
    "Untrusted",
    "open_folder",
    "open_parts",
    "open_ranges",
    "open_stream",
    "options_from",
]
