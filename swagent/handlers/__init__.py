"""The handlers: code that installs one type of artifact each. Built-ins are listed here and loaded when asked for."""

from swagent.plugins import Registry

from .api import Handler

SHELF = "swagent.handlers"

BUILT_INS: tuple[tuple[str, str], ...] = (
    ("archive", "archive:Archive"),
    ("bootloader", "bootenv:BootEnvFile"),
    ("btrfs", "subvolume:Btrfs"),
    ("btrfs-receive", "subvolume:BtrfsReceive"),
    ("copy", "copy:Copy"),
    ("delta", "delta:Delta"),
    ("diskformat", "diskformat:DiskFormat"),
    ("diskpart", "diskpart:DiskPart"),
    ("docker_containercreate", "docker:ContainerCreate"),
    ("docker_containerdelete", "docker:ContainerDelete"),
    ("docker_containerstart", "docker:ContainerStart"),
    ("docker_containerstop", "docker:ContainerStop"),
    ("docker_imagedelete", "docker:ImageDelete"),
    ("docker_imageload", "docker:ImageLoad"),
    ("docker_imageprune", "docker:ImagePrune"),
    ("docker_networkcreate", "docker:NetworkCreate"),
    ("docker_networkdelete", "docker:NetworkDelete"),
    ("docker_volumecreate", "docker:VolumeCreate"),
    ("docker_volumedelete", "docker:VolumeDelete"),
    ("dummy", "dummy:Dummy"),
    ("emmc_boot", "bootswitch:EmmcBoot"),
    ("emmc_boot_toggle", "bootswitch:EmmcBootToggle"),
    ("executor", "executor:Executor"),
    ("flash", "flash:FlashImage"),
    ("flash-hamming1", "hamming:FlashHamming"),
    ("gptpart", "gptpart:GptPart"),
    ("gptswap", "bootswitch:GptSwap"),
    ("joined", "joined:Joined"),
    ("lua", "lua:LuaScript"),
    ("postinstall", "shell:PostInstall"),
    ("preinstall", "shell:PreInstall"),
    ("raw", "raw:Raw"),
    ("rawcopy", "copy:Copy"),
    ("rawfile", "rawfile:RawFile"),
    ("rdiff_file", "rdiff:RdiffFile"),
    ("rdiff_image", "rdiff:RdiffImage"),
    ("readback", "readback:ReadBack"),
    ("remote", "remote:Remote"),
    ("shellscript", "shell:ShellScript"),
    ("ssblswitch", "ssbl:SsblSwitch"),
    ("swuforward", "swuforward:SwuForward"),
    ("tar", "archive:Archive"),
    ("toggleboot", "bootswitch:ToggleBoot"),
    ("ubipartition", "ubilayout:UbiPartition"),
    ("ubiswap", "ubilayout:UbiSwap"),
    ("ubivol", "ubivol:UbiVolume"),
    ("uboot", "bootenv:BootEnvFile"),
    ("ucfw", "ucfw:MicrocontrollerFirmware"),
    ("uniqueuuid", "diskformat:UniqueUuid"),
)


def registry() -> Registry[Handler]:
    """A fresh registry with the built-ins on it; other packages' handlers are found by entry point."""
    shelf: Registry[Handler] = Registry(SHELF)
    shelf.add_built_ins(__name__, BUILT_INS)
    return shelf
