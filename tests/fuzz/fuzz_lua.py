"""What comes back from Lua: frames, and the image that a hook leaves behind."""

from swagent.errors import SwagentError
from swagent.model import Artifact, Kind
from swagent.parser import amended
from swagent.scripting import wire
from swagent.scripting.image import changes, to_table

ART = Artifact(
    Kind.FILE,
    "rawfile",
    filename="a",
    path="/a",
    sha256=bytes(range(32)),
    properties={"p": ("1",), "q": ("2", "3")},
)


def one_input(data: bytes) -> None:
    """As a frame; and each value of it as what a hook gives back."""
    try:
        frame = wire.parse(data)
    except wire.WireError:
        return
    for value in frame.values:
        try:
            changed = changes(to_table(ART), value)
            art = amended(ART, changed, where="hook")
        except SwagentError:
            continue
        for text in (art.path, art.filename, art.data, *art.properties, *sum(art.properties.values(), ())):
            assert len(text.encode()) >= len(text)
        assert art.kind is ART.kind and art.offset_bytes >= 0
        if not changed:
            assert art == ART


def seeds() -> list[bytes]:
    """Results of calls, whole images, values of the wrong kind."""
    return [
        b'["done", true]',
        b'["failed", "a.lua:1: no"]',
        b'["hook", true, [["path", "/b"], ["offset", 5], ["properties", [["q", [[1, "3"], [2, "2"]]]]]]]',
        b'["hook", [["path", "\\u00ff"]], [["path", 5]], [["properties", 5]], [["sha256", "00"]], [["size", 1e3]]]',
        b'["hook", [["compressed", "zlib"], ["encrypted", true], ["ivt", "00"], ["aes-key", ""], ["x", null]]]',
        b'["hook", [["properties", [["p", [["a", [["b", []]]]]]]]], [], null, -1]',
    ]
