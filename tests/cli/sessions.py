"""A session's events, as the installer publishes them."""

from collections.abc import Iterator
from typing import Any

from swagent.events import Event

MIB = 1 << 20
ENTRIES: list[dict[str, Any]] = [
    {"artifact": "rootfs.ext4.zst", "handler": "raw", "fate": "direct", "reason": "",
     "target": "/dev/mmcblk0p3", "bytes": 390 * MIB},
    {"artifact": "motor-fw.hex", "handler": "ucfw", "fate": "staged", "reason": "",
     "target": "/dev/ttymxc2", "bytes": None},
    {"artifact": "calibration.tar", "handler": "archive", "fate": "skipped", "reason": "already installed (3.1)",
     "target": "", "bytes": 0},
]  # fmt: skip


def installing(*, dry_run: bool = False, steps_s: float = 0.1) -> Iterator[Event]:
    """A successful update; ``rootfs.ext4.zst`` grows in 100 progress events, ``steps_s`` apart."""
    now_s = 1_000_000.0

    def event(name: str, *args: Any, **keys: Any) -> Event:
        return Event(name, now_s, "s1", *args, **keys)

    yield event("update.started", facts={"source": "/tmp/update.swu", "size": 412 * MIB})
    yield event("description.verified", facts={"signer": "release.pem", "scheme": "RSA-PSS"})
    plan = {
        "version": "2.4.0",
        "description": "July maintenance",
        "hardware": "gateway rev 1.3",
        "selection": "stable,copy2",
        "dry_run": dry_run,
        "entries": ENTRIES,
        "scripts": [],
    }
    yield event("update.planned", facts=plan)
    root = ("rootfs.ext4.zst", "raw")
    yield event("artifact.started", *root, 0, 390 * MIB, 1, 2)
    for percent in range(1, 101):
        now_s += steps_s
        yield event("artifact.progress", *root, percent * 390 * MIB // 100, 390 * MIB, 1, 2)
    yield event("artifact.done", *root, 390 * MIB, 390 * MIB, 1, 2, "verified", facts={"seconds": 12.1})
    yield event("artifact.skipped", "calibration.tar", "archive", facts={"reason": "already installed (3.1)"})
    yield event("script.started", "fix.sh", "shellscript", facts={"phase": "preinst"})
    yield event("log", message="low battery", facts={"level": "warn"})
    yield event("log", message="a detail", facts={"level": "debug"})
    yield event("script.done", "fix.sh", "shellscript", facts={"phase": "preinst"})
    now_s += 1
    yield event("artifact.started", "motor-fw.hex", "ucfw", 0, None, 2, 2)
    yield event("artifact.done", "motor-fw.hex", "ucfw", 4096, None, 2, 2, facts={"seconds": 1.0})
    yield event("bootenv.done", facts={"variables": ["slot", "upgrade_available"]})
    verdict = {
        "result": "checked" if dry_run else "installed",
        "exit_code": 0,
        "error": None,
        "next": "reboot",
    }
    yield event("update.verdict", facts={**verdict, "seconds": 19.8})


def failing() -> Iterator[Event]:
    """The first artifact turns out wrong after half of it."""
    for event in installing():
        if event.event == "artifact.progress" and event.done_bytes > 195 * MIB:
            now_s = event.time_s
            break
        yield event
    yield Event("artifact.failed", now_s, "s1", "rootfs.ext4.zst", "raw", 195 * MIB, 390 * MIB, 1, 2)
    error = {
        "class": "HashError",
        "message": "rootfs.ext4.zst is not what sw-description promised",
        "hint": "download the image again",
        "artifact": "rootfs.ext4.zst",
        "handler": "raw",
    }
    verdict = {"result": "refused", "exit_code": 21, "error": error, "next": "", "seconds": 5.0}
    yield Event("update.verdict", now_s, "s1", facts=verdict)
