"""``swagent sign``: sign or re-sign an image."""

from swagent.errors import UsageError

from .make import AES_OPTION, SIGNING_OPTIONS, signing_of
from .options import Args, Command, Option

COMMAND = Command(
    name="sign",
    summary="sign or re-sign an update; everything else in it stays as it is",
    target="sign:run",
    arguments=("UPDATE",),
    options=(
        *SIGNING_OPTIONS,
        AES_OPTION,
        Option(
            "output", short="o", metavar="FILE", group="output", help="the result; else UPDATE is replaced"
        ),
    ),
    examples=(
        "swagent sign update.swu -k release.key                                # in place",
        "swagent sign dev.swu -o release.swu -k release.key --scheme rsa-pss",
        "swagent sign update.swu -k release.key --certificate release.pem -K aes.key",
        "swagent sign update.swu -k 'pkcs11:token=build;object=release?pin-source=/run/pin'",
    ),
)


def run(args: Args) -> int:
    """Sign, and say what came out."""
    from swagent.swu.sign import sign

    from .units import clean, size

    signing = signing_of(args)
    if signing is None:
        raise UsageError("--key is missing", hint="name the private key with -k")
    aes_key_file = args.get("key-aes")
    aes_key = None
    if aes_key_file is not None:
        from swagent.crypto.cipher import read_key_file

        aes_key = read_key_file(aes_key_file)
    path = args.arguments[0]
    signed = sign(path, args.get("output") or path, signing, aes_key=aes_key)
    verb = "Re-signed" if signed.replaced else "Signed"
    print(f"{verb} {clean(signed.path)} with {clean(signing.key_shown)}: {size(signed.size_bytes)}.")
    return 0
