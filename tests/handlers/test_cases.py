"""Runs the golden cases of tests/cases; its README describes their form."""

import gzip
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from swagent import errors
from swagent.handlers import BUILT_INS
from swagent.hw import Hardware
from swagent.model import Artifact, Kind, Phase
from swagent.testing import (
    FakeContext,
    FakeData,
    FakeEnv,
    install,
    run_script,
)

from . import flash_cases
from .peers import peer

CASES = Path(__file__).parent.parent / "cases"
SECTIONS = {"images": Kind.IMAGE, "files": Kind.FILE, "scripts": Kind.SCRIPT, "partitions": Kind.PARTITION}
TEXTS = ("filename", "name", "data", "volume", "device", "mtdname", "path", "filesystem")
KEYS = {
    "about",
    "section",
    "entry",
    "data",
    "phases",
    "before",
    "after",
    "env",
    "staged",
    "log",
    "error",
    "needs",
    "peer",
    "sent",
    "server",
    *flash_cases.KEYS,
}


def cases_of(handler: str) -> list[Path]:
    folder = CASES / handler
    alias = folder / "alias-of"
    if alias.exists():
        folder = CASES / alias.read_text().strip()
    return sorted(path.parent for path in folder.glob("*/case.json"))


ALL = [pytest.param(name, case, id=f"{name}-{case.name}") for name, _ in BUILT_INS for case in cases_of(name)]


@pytest.mark.parametrize("handler", [name for name, _ in BUILT_INS])
def test_every_built_in_has_a_case(handler: str) -> None:
    assert cases_of(handler), f"add tests/cases/{handler}/<case>/case.json; see tests/cases/README.md"


@pytest.mark.parametrize(("handler", "folder"), ALL)
def test_case(handler: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    text = (folder / "case.json").read_text().replace("{root}", str(root))
    skip_without(json.loads(text).get("needs", ""))
    old_umask = os.umask(0o022)
    try:
        with peer(json.loads(text).get("peer"), tmp_path / "tmp") as met:
            case = json.loads(text.replace("{peer}", met.name))
            assert not set(case) - KEYS, "unknown keys in case.json"
            run_case(handler, case, folder, root, tmp_path / "tmp", met.hw)
        assert met.sent == case.get("sent", [])
    finally:
        os.umask(old_umask)


def run_case(handler: str, case: dict[str, Any], folder: Path, root: Path, tmpdir: Path, hw: Any) -> None:
    before = case.get("before", {})
    grow(root, before, folder)
    art = artifact(handler, SECTIONS[case.get("section", "images")], case.get("entry", {}))
    data = content(case.get("data", ""), folder)
    env = FakeEnv(case.get("env"))
    flash = flash_cases.device(case, lambda node: content(node, folder))
    real = Hardware(str(tmpdir))
    ctx = FakeContext(str(tmpdir), hw=hw or flash or real, env=env, scripts={art.filename: data})
    ctx.files = {url: content(node, folder) for url, node in case.get("server", {}).items()}
    raised: errors.SwagentError | None = None
    try:
        if art.kind is Kind.SCRIPT:
            run_script(art, [Phase(word) for word in case.get("phases", ["preinst", "postinst"])], ctx)
        else:
            plain = FakeData(data)
            install(art, plain, ctx)
            assert plain.ended or art.kind is Kind.PARTITION, "the handler did not read its data to the end"
        ctx.sync.flush()
    except errors.SwagentError as exc:
        raised = exc
        ctx.sync.discard()
    check_error(case.get("error"), raised)
    check_tree(root, case.get("after", before), folder)
    assert env.staged == case.get("staged", {})
    if flash is not None:
        flash_cases.check(flash, case, lambda node: content(node, folder))
    for wanted in case.get("log", []):
        level, text = wanted if isinstance(wanted, list) else ("", wanted)
        assert any(text in message and level in ("", found) for found, message in ctx.logged), ctx.logged


def artifact(handler: str, kind: Kind, entry: dict[str, Any]) -> Artifact:
    facts = dict(entry)
    properties = {
        key: (value,) if isinstance(value, str) else tuple(value)
        for key, value in facts.pop("properties", {}).items()
    }
    values = {key: facts.pop(key) for key in TEXTS if key in facts}
    values.setdefault("filename", "member")
    art = Artifact(
        kind,
        handler,
        **values,
        size_bytes=facts.pop("size", None),
        offset_bytes=facts.pop("offset", 0),
        installed_directly=facts.pop("installed-directly", False),
        preserve_attributes=facts.pop("preserve-attributes", False),
        properties=properties,
        where=f"entry {values['filename']}",
    )
    assert not facts, f"unknown attributes in the entry: {facts}"
    return art


def content(node: Any, folder: Path) -> bytes:
    if isinstance(node, str):
        return node.encode()
    if "hex" in node:
        return bytes.fromhex(node["hex"])
    if "parts" in node:
        return b"".join(content(part, folder) for part in node["parts"])
    if "fill" in node:
        unit, size_bytes = str(node["fill"]).encode(), int(node["bytes"])
        return (unit * (size_bytes // len(unit) + 1))[:size_bytes]
    if "file" in node:
        return (folder / str(node["file"])).read_bytes()
    if "tar" in node:
        return tar_of(node, folder)
    return str(node["text"]).encode()


def tar_of(node: dict[str, Any], folder: Path) -> bytes:
    out = io.BytesIO()
    form = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
    with tarfile.open(fileobj=out, mode="w", format=form[node.get("format", "pax")]) as tar:
        for name, member in node["tar"]:
            info = tarfile.TarInfo(name)
            data = b""
            if isinstance(member, str):
                member = {"text": member}
            if "dir" in member:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif "symlink" in member:
                info.type, info.linkname = tarfile.SYMTYPE, member["symlink"]
            elif "hardlink" in member:
                info.type, info.linkname = tarfile.LNKTYPE, member["hardlink"]
            else:
                data = content(member, folder)
                info.size = len(data)
            if "mode" in member:
                info.mode = int(member["mode"], 8)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue()) if node.get("gzip") else out.getvalue()


def grow(root: Path, tree: dict[str, Any], folder: Path) -> None:
    for name, node in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(node, dict) and "dir" in node:
            path.mkdir(exist_ok=True)
        elif isinstance(node, dict) and "symlink" in node:
            path.symlink_to(node["symlink"])
        elif isinstance(node, dict) and "hardlink" in node:
            path.hardlink_to(root / node["hardlink"])
        else:
            path.write_bytes(content(node, folder))
        if isinstance(node, dict) and "mode" in node:
            path.chmod(int(node["mode"], 8))


def check_tree(root: Path, tree: dict[str, Any], folder: Path) -> None:
    wanted = {name.rstrip("/") for name in tree}
    for name in list(wanted):
        wanted.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
    found = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert found == wanted
    for name, node in tree.items():
        path = root / name
        if isinstance(node, dict) and "dir" in node:
            assert path.is_dir() and not path.is_symlink(), name
        elif isinstance(node, dict) and "symlink" in node:
            assert path.is_symlink() and os.readlink(path) == node["symlink"], name
        elif isinstance(node, dict) and "hardlink" in node:
            assert path.samefile(root / node["hardlink"]), name
        else:
            assert not path.is_symlink(), name
            assert path.read_bytes() == content(node, folder), name
        if isinstance(node, dict) and "mode" in node:
            assert f"{path.lstat().st_mode & 0o7777:04o}" == node["mode"], name


def check_error(wanted: Any, raised: errors.SwagentError | None) -> None:
    if wanted is None:
        if raised is not None:
            raise raised
        return
    name, text = wanted if isinstance(wanted, list) else (wanted, "")
    assert raised is not None, f"no error, expected {name}"
    assert type(raised).__name__ == name, repr(raised)
    assert text in raised.message


def skip_without(needs: str) -> None:
    if needs == "root":
        if os.geteuid() != 0:
            pytest.skip("needs root")
    elif needs and shutil.which(needs) is None:
        pytest.skip(f"needs {needs}: apt-get install {needs}")
