"""``swagent make``: build an image."""

import os
from typing import TYPE_CHECKING

from swagent.errors import SettingsError, UsageError

from .options import Args, Command, Option

if TYPE_CHECKING:
    from swagent.swu.make import Made
    from swagent.swu.sign import SigningSpec

SIGNING_OPTIONS = (
    Option(
        "key",
        short="k",
        metavar="KEY",
        group="signature",
        help="private key: PEM file or pkcs11: URI (-k is always the signature's key, as in verify and install)",
    ),
    Option(
        "scheme",
        metavar="SCHEME",
        group="signature",
        choices=("auto", "rsa", "rsa-pss", "ecdsa", "cms"),
        help="auto (the default) is cms with a certificate, else what the key is made for",
    ),
    Option(
        "certificate",
        metavar="FILE",
        group="signature",
        help="the signer's certificate for cms, PEM; those behind it in the file are carried along",
    ),
    Option(
        "extra-certificate",
        metavar="FILE",
        repeat=True,
        group="signature",
        help="more certificates to carry along for cms, PEM; may be repeated",
    ),
    Option(
        "password-file",
        metavar="FILE",
        group="signature",
        help="first line opens the private key, or is the token's PIN",
    ),
)
AES_OPTION = Option(
    "key-aes",
    short="K",
    metavar="FILE",
    group="encryption",
    help="AES key file: hexadecimal key (or the pkcs11: URI of one to decrypt with) and initialisation vector",
    aliases=("decryption-key",),
)

COMMAND = Command(
    name="make",
    summary="build an update from a sw-description and the files it names",
    target="make:run",
    options=(
        Option(
            "sw-description",
            short="s",
            metavar="FILE",
            group="what to build",
            help="the description, libconfig or JSON; @@NAME@@ in it are variables",
        ),
        Option("output", short="o", metavar="FILE", group="what to build", help="the update"),
        Option(
            "artifacts",
            short="a",
            metavar="DIR",
            repeat=True,
            group="what to build",
            help="where the files are; may be repeated; the description's own folder comes last",
        ),
        Option(
            "define",
            short="D",
            metavar="NAME=VALUE",
            repeat=True,
            group="what to build",
            help="value of a variable; may be repeated",
        ),
        Option(
            "format",
            metavar="FORMAT",
            group="what to build",
            choices=("crc", "newc"),
            help="cpio with checksums (crc, the default) or without (newc)",
        ),
        Option(
            "chunk-tables",
            group="what to build",
            help="what is installed directly gets signed chunk tables: judged before it is written, continued when cut",
        ),
        Option(
            "part-size",
            metavar="SIZE",
            group="what to build",
            help="members longer than this are split and joined on the device; 4095M if it is not given",
        ),
        *SIGNING_OPTIONS,
        Option("unsigned", group="signature", help="do not sign"),
        AES_OPTION,
        Option("encrypt-description", group="encryption", help="encrypt sw-description too"),
    ),
    examples=(
        "swagent make -s sw-description -a images -o update.swu -k release.key -D VERSION=2.4.0",
        "swagent make -s sw-description -o update.swu -k release.key --certificate release.pem   # CMS",
        "swagent make -s sw-description -o update.swu --unsigned -K aes.key   # encrypted entries",
    ),
)


def run(args: Args) -> int:
    """Build, and say what came out."""
    from swagent.swu.make import make

    signing = signing_of(args)
    if signing is None and not args.on("unsigned"):
        raise UsageError("an update is signed: --key is missing", hint="or say --unsigned")
    if signing is not None and args.on("unsigned"):
        raise UsageError("--unsigned does not go with --key")
    aes_key_file = args.get("key-aes")
    aes_key = None
    if aes_key_file is not None:
        from swagent.crypto.cipher import read_key_file

        aes_key = read_key_file(aes_key_file)
    made = make(
        needed(args, "sw-description"),
        output=needed(args, "output"),
        search=args.all("artifacts"),
        variables=_variables(args.all("define")),
        signing=signing,
        encryption=aes_key,
        encrypted_description=args.on("encrypt-description"),
        archive_format="newc" if args.get("format") == "newc" else "crc",
        mtime_s=_source_date_epoch(),
        chunk_tables=args.on("chunk-tables"),
        part_bytes=_part_bytes(args.get("part-size")),
    )
    _report(made, signing)
    return 0


def _part_bytes(text: str | None) -> int:
    from swagent.sizes import parse_size
    from swagent.swu.staging import PART_BYTES

    if text is None:
        return PART_BYTES
    try:
        found = parse_size(text)
    except ValueError as exc:
        raise UsageError(f"--part-size: {exc}") from exc
    if not 4096 <= found <= PART_BYTES:
        raise UsageError(f"--part-size {text}: between 4096 and 4095M")
    return found


def needed(args: Args, name: str) -> str:
    """The value of an option that must be given."""
    value = args.get(name)
    if value is None:
        raise UsageError(f"--{name} is missing", hint="see `swagent make --help`")
    return value


def signing_of(args: Args) -> "SigningSpec | None":
    """How to sign, as the options say; None when there is no key."""
    from swagent.swu.sign import SigningSpec

    key_file = args.get("key")
    if key_file is None:
        for name in ("scheme", "certificate", "extra-certificate", "password-file"):
            if args.all(name):
                raise UsageError(f"--{name} needs --key")
        return None
    return SigningSpec(
        key_file=key_file,
        scheme=args.get("scheme") or "auto",
        certificate_file=args.get("certificate") or "",
        extra_certificate_files=tuple(args.all("extra-certificate")),
        password=_password(args.get("password-file")),
        signing_time_s=_source_date_epoch() if os.environ.get("SOURCE_DATE_EPOCH", "").strip() else None,
    )


def _password(path: str | None) -> bytes | None:
    if path is None:
        return None
    from swagent.crypto.keys import read_secret_file

    return read_secret_file(path, "password file").split(b"\n")[0].rstrip(b"\r")


def _variables(definitions: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for definition in definitions:
        name, equals, value = definition.partition("=")
        if not equals or not name:
            raise UsageError(f"-D {definition}: that is not NAME=VALUE")
        found[name] = value
    return found


def _source_date_epoch() -> int:
    """The time that reproducible builds agree on (reproducible-builds.org), else 0."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > 0xFFFFFFFF:
        raise SettingsError(f"SOURCE_DATE_EPOCH is {text[:40]!r}, not seconds since 1970 in 32 bits")
    return int(text)


def _report(made: "Made", signing: "SigningSpec | None") -> None:
    from .units import clean, columns, pad, size

    names = [clean(member.name) for member in made.members]
    width = max((columns(name) for name in names), default=0)
    for name, member in zip(names, made.members, strict=True):
        how = [member.compression.value] if member.compression.value else []
        how += [f"{len(member.parts)} parts"] if member.parts else []
        how += ["encrypted"] if member.ivt is not None else []
        how += [f"chunks in {clean(member.table_name)}"] if member.table_name else []
        plain = f" from {size(member.plain_bytes)}" if member.plain_bytes != member.stored_bytes else ""
        line = f"  {pad(name, width)}  {size(member.stored_bytes):>9}{plain}   {', '.join(how)}"
        print(line.rstrip())
    for warning in made.warnings:
        print(f"note: {clean(warning)}")
    signed = f"signed with {clean(signing.key_shown)}" if signing is not None else "not signed"
    if made.encrypted_description:
        signed += ", description encrypted"
    number = sum(len(member.digests) + bool(member.table_name) for member in made.members)
    count = "1 member" if number == 1 else f"{number} members"
    print(f"Built {clean(made.path)}: {count}, {size(made.size_bytes)}, {signed}.")
