"""``swagent encrypt``: one image, to be read by nobody on its way."""

import os
from typing import TYPE_CHECKING

from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.crypto.cipher import AesKey

KEY_OPTION = Option(
    "key-aes",
    short="K",
    metavar="FILE",
    group="encryption",
    help="AES key file: hexadecimal key and initialisation vector",
)
OUTPUT_OPTION = Option("output", short="o", metavar="FILE", group="output", help="the result; replaced whole")
COMMAND = Command(
    name="encrypt",
    summary="encrypt one image with AES-CBC; says what sw-description must say of it",
    target="encrypt:run",
    arguments=("IMAGE",),
    options=(
        KEY_OPTION,
        Option(
            "ivt",
            metavar="HEX",
            group="encryption",
            help="the vector; a new one is made unless this is given",
        ),
        Option("key-file-ivt", group="encryption", help="use the key file's vector: only for one image"),
        OUTPUT_OPTION,
    ),
    examples=(
        "swagent encrypt rootfs.img -K aes.key -o rootfs.img.enc",
        "zstd -c rootfs.img | swagent encrypt - -K aes.key -o rootfs.zst.enc",
    ),
)


def run(args: Args) -> int:
    """Encrypt, and print the attributes of the entry."""
    from swagent.errors import UsageError
    from swagent.sources import open_image
    from swagent.stream.source import open_source
    from swagent.swu.imagecipher import encrypt_image

    if args.get("ivt") is not None and args.on("key-file-ivt"):
        raise UsageError("--ivt and --key-file-ivt contradict each other")
    key, output = key_of(args), needed_output(args)
    ivt = given_ivt(args) or (key.iv if args.on("key-file-ivt") else os.urandom(16))
    fd, name = open_image(args.arguments[0])
    try:
        done = encrypt_image(open_source(fd, name), output, key, ivt)
    finally:
        if fd:
            os.close(fd)
    print(f'filename = "{os.path.basename(output)}"; encrypted = "aes-cbc"; ivt = "{done.ivt.hex()}";')
    print(f'sha256 = "{done.sha256.hex()}"; size = {done.stored_bytes};')
    return 0


def key_of(args: Args) -> "AesKey":
    """The key that the options name.

    Raises:
        UsageError: they name none.
        SettingsError: its file cannot be used.
    """
    from swagent.crypto.cipher import read_key_file
    from swagent.errors import UsageError

    name = args.get("key-aes")
    if name is None:
        raise UsageError("--key-aes is missing", hint="name the key file with -K")
    return read_key_file(name)


def needed_output(args: Args) -> str:
    """Where the result goes.

    Raises:
        UsageError: nobody says, or it would replace the image.
    """
    from swagent.errors import UsageError

    output = args.get("output")
    if output is None:
        raise UsageError("--output is missing", hint="name the result with -o")
    if (
        os.path.exists(output)
        and os.path.exists(image := args.arguments[0])
        and os.path.samefile(output, image)
    ):
        raise UsageError(f"{output} is the image itself")
    return output


def given_ivt(args: Args) -> bytes | None:
    """The vector that the options give, None when they give none.

    Raises:
        UsageError: it has not 32 hexadecimal digits.
    """
    return _unhex(args, "ivt", 16)


def given_sha256(args: Args) -> bytes | None:
    """The digest that the options give, None when they give none.

    Raises:
        UsageError: it has not 64 hexadecimal digits.
    """
    return _unhex(args, "sha256", 32)


def _unhex(args: Args, name: str, n_bytes: int) -> bytes | None:
    from swagent.errors import UsageError

    text = args.get(name)
    if text is None:
        return None
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != n_bytes or len(text) != 2 * n_bytes:
        raise UsageError(f"--{name} takes {2 * n_bytes} hexadecimal digits")
    return value
