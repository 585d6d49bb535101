"""The pipe: bytes in, bytes out. Every stage wraps a Reader and is one; the sink is a handler's."""

from .cpio import Archive, Member, byte_sum
from .pipeline import ArtifactData, Codec
from .source import FileSource, Source, StreamSource, read_all
from .verify import Span, SumReader

__all__ = [
    "Archive",
    "ArtifactData",
    "Codec",
    "FileSource",
    "Member",
    "Source",
    "Span",
    "StreamSource",
    "SumReader",
    "byte_sum",
    "read_all",
]
