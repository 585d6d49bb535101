"""The four encodings in the field, around one model: ``tuf1``, ``ak``, ``ref-json``, ``ref-der``."""

from typing import TYPE_CHECKING

from .base import Codec, NotUnderstood

if TYPE_CHECKING:
    from .json_dialect import JsonCodec
    from .ref_der import DerCodec

NAMES = ("tuf1", "ak", "ref-json", "ref-der")


def codec(name: str) -> "JsonCodec | DerCodec":
    """The codec of this name.

    Raises:
        KeyError: there is none.
    """
    if name == "ref-der":
        from .ref_der import DerCodec

        return DerCodec()
    from .json_dialect import AK, REF, TUF1, JsonCodec

    return JsonCodec({"tuf1": TUF1, "ak": AK, "ref-json": REF}[name])


__all__ = ["NAMES", "Codec", "NotUnderstood", "codec"]
