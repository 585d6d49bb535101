"""Deltas by the real ``rdiff``."""

from pathlib import Path

from tests.programs import must, need


def rdiff_delta(folder: Path, old: bytes, new: bytes, *, block_bytes: int = 512) -> bytes:
    """What ``rdiff`` makes of two files; its own files go into ``folder``."""
    need("rdiff")
    for name, data in (("old", old), ("new", new)):
        (folder / f"rdiff-{name}").write_bytes(data)
    for words in (
        ["-b", str(block_bytes), "signature", "rdiff-old", "rdiff-sig"],
        ["delta", "rdiff-sig", "rdiff-new", "rdiff-delta"],
    ):
        must(["rdiff", "-f", *words], cwd=folder)
    return (folder / "rdiff-delta").read_bytes()
