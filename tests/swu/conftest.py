from pathlib import Path

import pytest

from .keys import Keys, make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A folder with two input files."""
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 400)
    (tmp_path / "b.bin").write_bytes(b"b" * 70_000)
    return tmp_path
