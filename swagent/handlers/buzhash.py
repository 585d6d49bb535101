"""Where zchunk cuts: content-defined chunks by a rolling hash, without rolling.

The hash (buzhash, 32 bits) of the 48 bytes up to position i is the exclusive or of ``rotate(TABLE[byte i-k], k)`` for k
from 0 to 47, so those of all positions can be had at once: the table's words of a piece become one large integer, to
which shifted and rotated copies of itself are added in doubling steps (1, 2, 4 ... 32, and 16 more). Some 30 ns a byte
instead of 500, and no library. A chunk ends before the first byte behind its smallest size where the lower 15 bits are
zero, or at its largest size (handlers §2.18).
"""

from functools import cache

CHUNK_MIN_BYTES = 8 * 1024
CHUNK_MAX_BYTES = 128 * 1024

_WINDOW = 48
_PIECE = 16 * 1024  # what is fastest: larger numbers leave the processor's cache

# The values of zchunk's table (src/lib/buzhash/buzhash.c), which decide where its files are cut.
# Copyright (c) 2015 the urlblock developers, (c) 2018 Jonathan Dieter; MIT licence.
_TABLE = bytes.fromhex(
    "458be752c10748ccfbbcdbb86ded5b68b10a82b520d75648dfc5665fa84288017ebf5191841135c765cc53b3280a597c"
    "16f60255c78cbc3e294415f5b938d494ec85c4e6b7d33edce549b544fdeda5aa882bf2873116737c05569956e8cc1f68"
    "0806ac5e22a1444315297e1050d090e74ba60f6fefd9f1a75c5c885c82482f939bfd7c640b3e7276f2688e778fad8abc"
    "b0509568f1ada29fa53efdfecb2b1d00f2a9e9866463432b950940515a223ad29be8401b61e579cb1a556a145840fdc2"
    "9261ddf6cde002bb52432bb0bf17373e7b7c222f2955ed169f10ca59e840c4c9ccabd80614543f341462417a0d4a1f9c"
    "087ed925d7f8f24c7338c425cf86c8f5b19165cd9891c393325384ac0308459d86141d7ec922116ae2ffa6b653f52aed"
    "2cd86197f5b9f498bf319c8fe0411fae977eb18cd87709769833466ac674df7f8c297d458ca48d26c49ed8e27344f874"
    "556f79c76b25eaeda03e2b42f68f66a48e8b09a2f2e0e62a0d3a98069729e4938c72b0fc160b94f6450e4d3d7a320e85"
    "bef8f0e121d736534e3d977a1e7b39291cc6c719be478d538d752809e6d8c2c6275f0892c8acc2734cc21580ecc4a617"
    "f5f7be70e795248a375a2fe9425570b68898dcf8dc2d97c40106114b364dc22f1e0cad1fbe63803c5f69fac24d5afa6f"
    "1bc0dfb5fb2735890ea47f7b3c1c2b5021b2a9326b1223fd2fe706a8f9bd6ce2a268e64ee987f4863eacf5631ca2018c"
    "65e182282207360a57cf171534c37d2b1f8f3cde93b657cf31a019fde69eb7298bca7b9b4c9d5bed277ebeafe0d8f8ae"
    "d150821c31381871afc3f1b0927db328e95effac305a47bd426ba35b1233af3f686a5b8350e072e5d9d3bb2a8befc475"
    "487f0de6c88dff89bd664d5e971b5d1863b14847d7d3c1ce7f583cf372cbcb09c0d0a81c7fa3429be9158a1b225ea19a"
    "d8ca9ea3c763b282bb0c6341020b8293d4cd299d58cfa7f891b4ee5337e4d14095ec764c30f76b065ee68d24679c8661"
    "a41979c2f2b612844fac14750adb49f919727a2315a7e374c43a18d53fb1aa73342fc615924c0793bee2d7f08a279de9"
    "4aa2d70ce24dd37fbe862c0b177c22c25388e5eecd8a7510f901b4fddbc13dbc6c0bae5b64efe8c748b0207980331a49"
    "ca3d8ae6f3546190fed7108bc49b941b32baf4a9eb833a4a88a3f1a53a91ce0a3cc27da17112e6844a3096b13794574c"
    "a3c8b6f31d2139416e0a2e00233479f10f4cd82f6093edd25d7d209e464fe319d4dcac9e0db845cbfb5e4bc3e0256ce1"
    "09fb4ed10914be1ea5bdb2c3c6eb57bb303203503f397e91a67791bc86bc0e2cefa0a7e2e9ff7543e733612cd185897b"
    "329e538891dd236b2ecb0d93f4d82a3d35b5c03fe4e606f005b2184337b459645eff22f46027f4cc77178b3cae507131"
    "7bf7cabcf9c18d66593ade65d95ddf11"
)
_PLANES = [_TABLE[place::4] for place in (3, 2, 1, 0)]
"""For every byte of a word, the lowest first: what each value of a byte of data has there."""
_WHOLE = (1 << 32 * _PIECE) - 1


def chunk_bytes(data: bytes) -> int:
    """Length of the chunk that begins where ``data`` does.

    Args:
        data: ``CHUNK_MAX_BYTES``, or fewer when the source ends there.
    """
    start = CHUNK_MIN_BYTES
    while start < len(data):
        begin = start - _WINDOW + 1
        found = _first_cut(data[begin : begin + _PIECE])
        if found >= 0:
            return begin + found
        start = begin + _PIECE
    return len(data)


def _first_cut(piece: bytes) -> int:
    """First position whose window lies within ``piece`` and has a hash that cuts; -1 if there is none."""
    hashes = _hashes(piece.ljust(_PIECE, b"\0"))
    low, high = hashes[0::4], hashes[1::4]
    at = _WINDOW - 1
    while (at := low.find(0, at, len(piece))) >= 0:
        if not high[at] & 0x7F:
            return at
        at += 1
    return -1


def _hashes(piece: bytes) -> bytes:
    """Four bytes for every position, the lowest first: the hash of the window that ends there."""
    words = bytearray(4 * _PIECE)
    for place, plane in enumerate(_PLANES):
        words[place::4] = piece.translate(plane)
    number = int.from_bytes(words, "little")
    sixteen = 0
    for width in (1, 2, 4, 8, 16):
        sixteen = number
        number ^= _rotated(number, width) << 32 * width & _WHOLE
    number ^= sixteen << 32 * 32 & _WHOLE  # rotated by 32, that is not at all
    return number.to_bytes(4 * _PIECE, "little")


def _rotated(number: int, bits: int) -> int:
    """Every word of a number rotated to the left."""
    upper, lower = _masks(bits)
    return number << bits & upper | number >> 32 - bits & lower


@cache
def _masks(bits: int) -> tuple[int, int]:
    """What a word's rotation by ``bits`` takes from its own word shifted left, and from it shifted right."""
    lower = int.from_bytes(((1 << bits) - 1).to_bytes(4, "little") * _PIECE, "little")
    return lower ^ _WHOLE, lower
