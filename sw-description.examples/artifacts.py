"""Makes the input files of an example: ``python sw-description.examples/artifacts.py SCENARIO FOLDER``.

Small, and always the same: what they are stands in the scenario's ``example.json``.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 4096


def content(artifact: dict[str, Any]) -> bytes:
    """The bytes of one artifact."""
    if artifact["kind"] == "text":
        return str(artifact["text"]).encode()
    if artifact["kind"] == "tar.gz":
        return _archive(artifact["files"])
    return _image(artifact["seed"], artifact["size"])


def _image(seed: str, size_bytes: int) -> bytes:
    """Like a file system: noise in every second block, zeros in the others."""
    noise = hashlib.shake_256(seed.encode()).digest(size_bytes // 2 + _BLOCK_BYTES)
    blocks = []
    for start in range(0, len(noise), _BLOCK_BYTES):
        blocks += [noise[start : start + _BLOCK_BYTES], bytes(_BLOCK_BYTES)]
    return b"".join(blocks)[:size_bytes]


def _archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            info.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def write(scenario: Path, folder: Path) -> None:
    """Write all artifacts of a scenario, and its AES key file if it has one."""
    facts = json.loads((scenario / "example.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    for artifact in facts["artifacts"]:
        (folder / artifact["name"]).write_bytes(content(artifact))
    if "aes_key" in facts:
        (folder / "aes.key").write_text(facts["aes_key"] + "\n", encoding="ascii")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} SCENARIO FOLDER")
    write(Path(__file__).parent / sys.argv[1], Path(sys.argv[2]))
