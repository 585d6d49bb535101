"""``swagent verify``: judge an image without installing it."""

from typing import TYPE_CHECKING

from swagent.errors import UsageError

from .install import TRUST_OPTIONS
from .options import Args, Command

if TYPE_CHECKING:
    from swagent.crypto.signature import Trust
    from swagent.swu.verify import Judged, Verified

COMMAND = Command(
    name="verify",
    summary="check signature and digests of an update, without installing it",
    target="verify:run",
    arguments=("UPDATE",),
    options=TRUST_OPTIONS,
    examples=(
        "swagent verify update.swu -k release.pem",
        "swagent verify update.swu -k ca.pem --forced-signer-name 'Release key 2026'",
        "swagent verify update.swu -k release.pem -K aes.key      # look inside encrypted members too",
    ),
)


def run(args: Args) -> int:
    """Judge, and say what was found; errors tell the rest."""
    from swagent.clock import SystemClock
    from swagent.swu.verify import verify

    aes_key_file = args.get("key-aes")
    aes_key = None
    if aes_key_file is not None:
        from swagent.crypto.cipher import read_key_file

        aes_key = read_key_file(aes_key_file)
    trust = _trust(args)
    _report(verify(args.arguments[0], trust=trust, aes_key=aes_key, now_s=SystemClock().now_s()))
    return 0


def _trust(args: Args) -> "Trust | None":
    from swagent.crypto.signature import Trust, scheme_of_provider

    key_files = args.all("key")
    if not key_files:
        if args.on("allow-unsigned"):
            return None
        raise UsageError("--key is missing: who may have signed it?", hint="or say --allow-unsigned")
    return Trust(
        key_files=tuple(key_files),
        scheme=scheme_of_provider(args.get("digest-provider") or ""),
        cert_purpose=args.get("cert-purpose") or "emailProtection",
        forced_signer_name=args.get("forced-signer-name") or "",
        crl_path=args.get("crl-path") or "",
    )


def _report(verified: "Verified") -> None:
    from swagent.parser import outline

    from .units import clean, columns, fit, pad, size

    found = outline(verified.description)
    signer = verified.signer
    print(
        "   ".join(
            part
            for part in (
                clean(verified.path),
                clean(found.version),
                f'"{fit(clean(found.description), 40)}"' if found.description else "",
                f"signed by {clean(signer.label)} ({signer.scheme})" if signer else "signature not checked",
                size(verified.size_bytes),
            )
            if part
        )
    )
    if found.boards:
        print(f"  boards      {clean(', '.join(found.boards))}")
    if found.selections:
        print(f"  selections  {clean('  '.join(found.selections))}")
    print()
    names = [clean(judged.content.member.name) for judged in verified.members]
    width = max((columns(name) for name in names), default=0)
    for name, judged in zip(names, verified.members, strict=True):
        stored = size(judged.content.member.size_bytes)
        print(f"  {pad(name, width)}  {stored:>9}   {_verdict(judged)}")
    hashed = sum(judged.content.sha256 is not None for judged in verified.members)
    digests = "1 digest" if hashed == 1 else f"{hashed} digests"
    if signer:
        print(f"Signature and {digests} are right.")
    else:
        print(f"{digests} found right. Nobody was asked for a signature, so this does not say who made it.")


def _verdict(judged: "Judged") -> str:
    notes = [judged.evidence.value]
    if not judged.content.used:
        notes.append("no entry names it")
    if judged.content.compression.value:
        notes.append(judged.content.compression.value)
    if judged.content.cipher:
        notes.append("encrypted" if judged.plain_bytes is not None else "encrypted, not looked into")
    return ", ".join(notes)
