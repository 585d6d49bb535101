"""The example of a delta update, installed from a server: forth, and back to the other copy."""

from pathlib import Path

from swagent.swu.make import make
from tests.faults.device import Device
from tests.faults.images import half_noise, noise
from tests.handlers.zckfile import zck
from tests.net.server import Exchange, serving
from tests.programs import run_swagent

EXAMPLE = Path(__file__).parents[2] / "sw-description.examples" / "delta"
FIRST = half_noise(600_000, 8)
SECOND = FIRST[:200_000] + noise(9000, 9) + FIRST[200_000:]
THIRD = SECOND[:400_000] + SECOND[430_000:]


def update(device: Device, new: bytes, selection: str) -> int:
    """Build and install it; returns how many bytes were fetched."""
    folder = device.folder
    _, whole = zck(folder, new)
    (folder / "zck-file").rename(folder / "rootfs.zck")
    image = folder / "update.swu"
    with serving(whole) as server:
        server.usual = Exchange.serve_parts
        make(
            str(EXAMPLE / "sw-description"),
            output=str(image),
            search=[str(folder)],
            variables={"ROOT": str(folder), "VERSION": "2.4.0", "SERVER": f"http://localhost:{server.port}"},
        )
        config = device.root / "fw_env.config"
        words: list[str | Path] = [
            "-e",
            selection,
            "-H",
            "gateway:1.2",
            "-B",
            "uboot",
            "--fwenv-config",
            config,
        ]
        done = run_swagent(["-i", image, "--allow-unsigned", *words], folder)
        assert done.ok, done.text
        return server.sent_bytes


def test_there_and_back(tmp_path: Path) -> None:
    device = Device(tmp_path)
    copies = tmp_path / "rootfs-a.img", tmp_path / "rootfs-b.img"
    for copy in copies:
        copy.write_bytes(FIRST)
    assert update(device, SECOND, "stable,copy2") < len(SECOND) // 5
    assert [copy.read_bytes() for copy in copies] == [FIRST, SECOND]
    assert device.env()["slot"] == "b"
    assert update(device, THIRD, "stable,copy1") < len(THIRD) // 5
    assert copies[1].read_bytes() == SECOND
    assert copies[0].read_bytes()[: len(THIRD)] == THIRD
    assert device.env()["slot"] == "a"
