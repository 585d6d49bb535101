"""``swagent decrypt``: one encrypted image, as it was."""

import os

from .encrypt import KEY_OPTION, OUTPUT_OPTION, given_ivt, given_sha256, key_of, needed_output
from .options import Args, Command, Option

COMMAND = Command(
    name="decrypt",
    summary="open an image that was encrypted with AES-CBC",
    target="decrypt:run",
    arguments=("IMAGE",),
    options=(
        KEY_OPTION,
        Option(
            "ivt", metavar="HEX", group="encryption", help="the vector; the key file's unless this is given"
        ),
        Option("sha256", metavar="HEX", group="encryption", help="what the encrypted bytes must have"),
        OUTPUT_OPTION,
    ),
    examples=("swagent decrypt rootfs.img.enc -K aes.key --ivt 8f… --sha256 1c… -o rootfs.img",),
)


def run(args: Args) -> int:
    """Open it; nothing is left of what is not right."""
    from swagent.sources import open_image
    from swagent.stream.source import open_source
    from swagent.swu.imagecipher import decrypt_image

    from .units import clean, size

    key, output = key_of(args), needed_output(args)
    ivt, expected = given_ivt(args) or key.iv, given_sha256(args)
    fd, name = open_image(args.arguments[0])
    try:
        done = decrypt_image(open_source(fd, name), output, key, ivt, expected)
    finally:
        if fd:
            os.close(fd)
    print(f"{clean(output)}   {size(done.plain_bytes)}")
    return 0
