"""sw-description of any bytes: a description, or one of our errors."""

from contextlib import suppress

from swagent.errors import SwagentError
from swagent.model import Hardware, Selection
from swagent.parser import outline, parse_with_warnings, read_libconfig

_SELECTIONS = (None, Selection("stable", "copy1"))

LIBCONFIG = rb"""
/* everything a description may have */
software =
{
    version = "1.0"; description = "two " "parts \x41\xc3\xa9\n\\";
    hardware-compatibility: [ "1.0", "#RE:^[[:digit:]]{1,2}\.0$" ];
    update-type = "feature"; reboot = false; output = "/tmp/x";
    bootloader_transaction_marker = TRUE; namespace-for-vars = "ns";
    common: { images: ( { filename = "rootfs.ext4"; device = "/dev/mmcblk0p2"; compressed = "zstd"; }, ); };
    stable = {
        copy1: { images = { ref = "#./../../common/images" };
                 scripts: ( { filename = "s.sh"; type = "shellscript"; } ); };
        copy2: { images: ( { ref = "#../../common/images"; }, { filename = "b"; volume = "v"; size = 0x10L; } ) };
    };
    board: { stable: { copy1: { ref = "#./../../stable/copy2" } }; };
    files: ( {
        filename = "a"; path = "/etc/a"; offset = "0x10K"; encrypted = "aes-cbc"; installed-directly = true;
        ivt = "00112233445566778899aabbccddeeff"; instaled-directly = false;
        sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        properties: { one = "1"; many = [ "a", "b" ]; deep: { x = "y"; }; };
    } );
    partitions: ( { type = "ubipartition"; device = "mtd0"; name = "vol"; size = 1048576; data = "static"; } );
    bootenv: ( { name = "a"; value = "b"; }, { name = "a"; value = "c"; } );
    vars: ( { name = "v"; value = ""; } );   # the end
}
// numbers: 1.5e3 -7 0b101 0o17 0q7L
x = ( 1.5e3, -7, 0b101, 0o17, 0q7, .5 );
"""

JSON = rb"""{ "software": { "version": "1.0", "hardware-compatibility": ["1.0"],
  "rev-1.0": { "images": [ { "filename": "a", "device": "/dev/x", "size": 12, "properties": { "p": ["1", "2"] } } ] },
  "images": { "filename": "b\u00e9", "volume": "v", "offset": "64K" },
  "stable": { "copy1": { "files": [ { "ref": "#./f" } ], "f": [ { "filename": "c", "path": "/c" } ] } } } }
"""


def seeds() -> list[bytes]:
    """Texts to start from, one for each language and some that are nested or cut."""
    return [
        LIBCONFIG,
        JSON,
        b'software = { version = "1"; images: ( { ref = "#./images"; } ); };',
        b'software = { version = "1"; a = { ref = "#./b"; }; b = { ref = "#./a"; }; images = { ref = "#./a"; } }',
        b'@include "/etc/passwd"\nsoftware = { }',
        b"a = " + b"(" * 40,
        b'{"software": ' + b"[" * 40,
        b'software = { version = "\\xff"; }',
    ]


def one_input(data: bytes) -> None:
    """Read it in every way there is."""
    for hardware in (None, Hardware("board", "1.0")):
        for selection in _SELECTIONS:
            with suppress(SwagentError):
                parse_with_warnings(data, hardware=hardware, selection=selection)
    for read in (outline, lambda text: read_libconfig(text, where="f")):
        with suppress(SwagentError):
            read(data)
