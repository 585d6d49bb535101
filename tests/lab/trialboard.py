"""A board with two copies of its system, for trial updates: QEMU with a real kernel, and swagent inside.

Its firmware is a shell script that does what U-Boot's bootcount does, with U-Boot's own tools on a real environment; a
copy is an ext4 file system whose ``start`` is the system. The rest of the root file system is the host's, thrown away
at each reboot, so that this checkout runs inside.
"""

import shlex
import stat
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from tests.programs import PROJECT

from .labs import SERVER, Keys

INIT = r"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /boot-modules); do insmod "/modules/$module"; done
p9=trans=virtio,version=9p2000.L,msize=524288
mkdir -p /host /layer /cow /root /lib
mount -t 9p -o "$p9,ro,cache=loose" host /host
mount -t 9p -o "$p9,ro,cache=loose" layer /layer
mount -t tmpfs -o size=80% cow /cow
mkdir /cow/upper /cow/work
mount -t overlay -o lowerdir=/layer:/host,upperdir=/cow/upper,workdir=/cow/work root /root
ln -s /layer/usr/lib/modules /lib/modules
modprobe -a virtio_blk ext4
ip link set lo up
for folder in proc sys dev; do mount --move /$folder /root/$folder; done
mount -t tmpfs run /root/run
cp /firmware /root/run/firmware
exec switch_root /root /bin/sh /run/firmware
"""

FIRMWARE = r"""
exec </dev/ttyS0 >/dev/ttyS0 2>&1
export PATH=/run/bin:{programs}:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PS1='board# ' TERM=dumb
mkdir -p /persist /slot /run/bin /run/lock
mount -t ext4 /dev/vda /persist
printf '/persist/uboot.env 0 0x4000\n/persist/uboot.env 0x4000 0x4000\n' > /etc/fw_env.config
echo 'board 1.0' > /etc/hwrevision
cp /persist/swupdate.cfg /etc/swupdate.cfg
printf '#!/bin/sh\nsync\nmount -o remount,ro /persist\necho b > /proc/sysrq-trigger\nsleep 60\n' > /run/bin/reboot
chmod +x /run/bin/reboot
slot=$(fw_printenv -n slot) count=$(fw_printenv -n bootcount)
if [ "$(fw_printenv -n upgrade_available)" = 1 ]; then
	count=$((count + 1))
	fw_setenv bootcount $count
	if [ $count -gt "$(fw_printenv -n bootlimit)" ]; then
		[ $slot = b ] && slot=a || slot=b
		echo "firmware: altbootcmd"
	fi
fi
[ $slot = a ] && disk=/dev/vdb || disk=/dev/vdc
echo "firmware: copy $slot, bootcount $count"
mount -t ext4 -o ro $disk /slot && /slot/start
echo "firmware: copy $slot does not start, reset"
reboot
"""

START = """#!/bin/sh
echo 'this is system {version}'
cd /persist
exec setsid -c sh -i </dev/ttyS0 >/dev/ttyS0 2>&1
"""

SETTINGS = """globals : {
    bootloader = "uboot"; public-key-file = "/persist/release.pem";
};
swagent : {
    state-directory = "/persist/state";
    confirm-bootenv = "upgrade_available=0 bootcount=0"; confirm-fail-bootenv = "bootcount=99";
};
"""

DESCRIPTION = """software = {
    version = "@@VERSION@@";
    hardware-compatibility: [ "1.0" ];
    images: ( { filename = "system.img"; device = "/dev/vdc"; type = "raw"; installed-directly = true; } );
    bootenv: ( { name = "slot"; value = "b"; }, { name = "upgrade_available"; value = "1"; },
               { name = "bootcount"; value = "0"; } );
};
"""

PLAN = """# how the board is used
storage: storage
target: update
prompt: 'board# $'
install: 'head -c {size} /dev/vdd | swagent -i -'
version: cat /slot/version
expected: '^2[.]0$'
boot-timeout: 5m
install-timeout: 5m
"""

DEVICE = """
devices:
  - name: gateway
    consoles: [ { name: main, parameters: {}, match: { boardswarm.name: gateway } } ]
    volumes: [ { name: storage, match: { boardswarm.name: gateway } } ]
    modes:
      - name: off
        sequence: [ { match: { boardswarm.name: gateway }, parameters: { mode: off } } ]
      - name: on
        depends: off
        sequence: [ { match: { boardswarm.name: gateway }, parameters: { mode: on } } ]
"""
_PROGRAM = stat.S_IFREG | 0o755


def hwbench() -> ModuleType:
    """The program ``tools/hwbench/hwbench``, which knows how to get a kernel and to start QEMU."""
    path = PROJECT / "tools/hwbench/hwbench"
    loader = SourceFileLoader("hwbench", str(path))
    spec = spec_from_loader("hwbench", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


class TrialBoard:
    """Everything that the lab of one board needs, in a folder that a server is started in.

    Args:
        folder: empty.
        bench: as ``hwbench()`` gives it, its cache filled.
    """

    def __init__(self, folder: Path, bench: ModuleType) -> None:
        self.folder = folder
        keys = Keys(folder)
        (folder / "token").write_text(keys.token() + "\n")
        for name in ("release", "other"):
            run(
                "openssl",
                "genpkey",
                "-quiet",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-out",
                folder / f"{name}.key",
            )
            run("openssl", "pkey", "-in", folder / f"{name}.key", "-pubout", "-out", folder / f"{name}.pem")
        (folder / "sw-description").write_text(DESCRIPTION)
        (folder / "plan.yaml").write_text(PLAN)
        persist = folder / "persist"
        persist.mkdir()
        (folder / "env.txt").write_text("slot=a\nbootcount=0\nbootlimit=1\nupgrade_available=0\n")
        run("mkenvimage", "-r", "-s", "0x4000", "-o", folder / "env.bin", folder / "env.txt")
        (persist / "uboot.env").write_bytes((folder / "env.bin").read_bytes() * 2)
        (persist / "swupdate.cfg").write_text(SETTINGS)
        (persist / "release.pem").write_bytes((folder / "release.pem").read_bytes())
        (persist / "state").mkdir()
        self._ext4(persist, folder / "persist.img", 16)
        (folder / "slot-b.img").write_bytes(bytes(4 << 20))
        (folder / "update.img").write_bytes(bytes(16 << 20))
        self.system("1.0").rename(folder / "slot-a.img")
        (folder / "lab.yaml").write_text(self._lab(bench))

    def system(self, version: str) -> Path:
        """A system, the content of a copy."""
        tree = self.folder / f"tree-{version}"
        tree.mkdir(exist_ok=True)
        (tree / "version").write_text(f"{version}\n")
        (tree / "start").write_text(START.format(version=version))
        (tree / "start").chmod(0o755)
        return self._ext4(tree, self.folder / "system.img", 4)

    def image(self, version: str, *, system: bytes | None = None, key: str = "release") -> Path:
        """A signed image, of a system that works or of ``system``."""
        path = self.system(version)
        if system is not None:
            path.write_bytes(system)
        image = self.folder / f"{version}.swu"
        words = [
            "make",
            "-s",
            "sw-description",
            "-o",
            image.name,
            "-k",
            f"{key}.key",
            "-D",
            f"VERSION={version}",
        ]
        run(sys.executable, "-m", "swagent", *words, folder=self.folder)
        return image

    def _ext4(self, tree: Path, path: Path, mebibytes: int) -> Path:
        path.write_bytes(b"")
        run("mkfs.ext4", "-q", "-O", "^metadata_csum", "-d", tree, path, f"{mebibytes}M")
        return path

    def _lab(self, bench: ModuleType) -> str:
        firmware = FIRMWARE.replace("{programs}", str(Path(sys.executable).parent))
        entries = [("init", _PROGRAM, INIT.encode()), ("firmware", _PROGRAM, firmware.encode())]
        initramfs = (bench.CACHE / "initramfs").read_bytes() + bench.cpio(entries)
        (self.folder / "initramfs").write_bytes(initramfs)
        command, environment = bench.qemu_command()
        names = ("LD_LIBRARY_PATH", "QEMU_MODULE_DIR")
        command = ["env", *(f"{n}={environment[n]}" for n in names if n in environment), *command]
        command += [
            "-M",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-nodefaults",
            "-display",
            "none",
            "-cpu",
            "max",
        ]
        command += ["-smp", "1", "-m", "1024", "-nic", "none"]
        command += ["-kernel", str(bench.CACHE / "vmlinux"), "-initrd", "initramfs"]
        command += ["-append", "console=ttyS0 quiet loglevel=3 nokaslr mitigations=off panic=-1"]
        command += bench.nine_p("host", "/", read_only=True)
        command += bench.nine_p("layer", bench.CACHE / "layer", read_only=True)
        disks = ", ".join(
            f"{{ name: {name}, path: {name}.img, writable: {'true' if name == 'update' else 'false'} }}"
            for name in ("persist", "slot-a", "slot-b", "update")
        )
        argv = ", ".join(f'"{word}"' for word in command)
        assert '"' not in shlex.join(command)
        provider = f"""
providers:
  - name: virtual
    provider: qemu
    parameters:
      boards: [ {{ name: gateway, command: [ {argv} ], disks: [ {disks} ] }} ]
"""
        return SERVER + provider + DEVICE


def run(*words: object, folder: Path | None = None) -> None:
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
