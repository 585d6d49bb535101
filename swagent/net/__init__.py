"""Archives from HTTP servers: a blocking client that resumes, and sources on top of it. Knows no policy."""

from .options import HttpOptions
from .ranges import HttpRanges, open_ranges, open_stream
from .stream import HttpStream

__all__ = ["HttpOptions", "HttpRanges", "HttpStream", "open_ranges", "open_stream"]
