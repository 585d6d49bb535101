"""As whom children run."""

import os
import sys
from pathlib import Path

import pytest

from swagent.daemon.doors import DOORS, rights
from swagent.daemon.rights import FIRST_UID, LAST_UID, Identity, door_identity, judge_rights
from swagent.settings import InstallSettings
from tests.programs import PROJECT, need, run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@as_root
def test_no_door_of_a_network_is_root_unless_told() -> None:
    found = {door.name: rights(door, InstallSettings()) for door in DOORS}
    assert found.pop("media") == Identity(), "it mounts"
    uids = {identity.uid for identity in found.values()}
    assert len(uids) == len(found), "none can touch what another has"
    assert all(uid is not None and FIRST_UID <= uid <= LAST_UID for uid in uids)


@as_root
def test_whom_the_settings_name() -> None:
    assert door_identity({"user": "nobody"}, "here", 0).uid == 65534
    assert door_identity({"user": "root"}, "here", 0).uid is None
    assert door_identity({"userid": 0}, "here", 0).uid is None
    assert door_identity({"group": "nogroup"}, "here", 2) == Identity(FIRST_UID + 2, 65534)


@as_root
def test_root_on_purpose_is_told(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    judge_rights("suricatta", "suricatta", Identity(), str(tmp_path), lambda *line: said.append(line))
    ((level, line),) = said
    assert level == "warn" and "runs as root" in line


def test_root_of_a_user_namespace_with_nobody_else_stays_who_it_is() -> None:
    need("unshare")
    code = "from swagent.daemon.rights import *; print(door_identity({}, 'here', 0).uid, sockets_gid())"
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = run(words, env={"PYTHONPATH": str(PROJECT)})
    if not done.ok and "unshare" in done.text:
        pytest.skip("this kernel gives us no user namespace")
    assert done.text.strip() == "None -1"


@as_root
def test_what_is_imported_later_is_found_behind_closed_folders(tmp_path: Path) -> None:
    """As somebody without rights, with everything below a folder of root's."""
    home = tmp_path / "closed" / "site"
    package = home / "late"
    package.mkdir(parents=True)
    home.parent.chmod(0o700)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("SAID = 'found'\n")
    (home / "alone.py").write_text("SAID = 'too'\n")
    code = (
        "import late\n"
        "from swagent.daemon.rights import Identity, drop_rights\n"
        "drop_rights(Identity(65530, 65530), None)\n"
        "import os, late.inner, alone, wave\n"
        "print(os.getuid(), os.getgroups(), late.inner.SAID, alone.SAID)\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    print('for good')\n"
    )
    done = run([sys.executable, "-c", code], env={"PYTHONPATH": os.pathsep.join((str(PROJECT), str(home)))})
    assert done.text == "65530 [] found too\nfor good\n"
