"""``swagent install`` and ``swagent -i``: SWUpdate's options with their meaning, and ours beside them."""

import os
import sys
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

from swagent.app import Wishes, make_session, read_hardware, read_settings
from swagent.clock import SystemClock
from swagent.errors import SettingsError, SwagentError, UsageError
from swagent.events import EventBus, refused_early
from swagent.installer.session import Session
from swagent.settings import InstallSettings, layer
from swagent.sources import is_url, open_update, save, warnings_of
from swagent.state import lock

from .options import Args, Command, Option
from .screen import LateScreen, Screen

if TYPE_CHECKING:
    from .question import Question

WHAT, WHO, HOW, OUT = "what to install", "who to trust", "how to behave", "output"

# what a check, an install and an inspection have in common
TRUST_OPTIONS = (
    Option("key", "k", "FILE", "public key or certificates to verify with; may be repeated", WHO, True, ("ca-path",)),
    Option("allow-unsigned", help="without a key, do not ask for a signature", group=WHO),
    Option("key-aes", "K", "FILE", "AES key, or pkcs11: URI of one, and iv of encrypted images", WHO,
           aliases=("decryption-key",)),
    Option("cert-purpose", "", "PURPOSE", "what signing certificates must be for", WHO,
           choices=("emailProtection", "codeSigning")),
    Option("forced-signer-name", "", "CN", "common name that every signer must have", WHO),
    Option("crl-path", "", "FILE", "certificates that were revoked", WHO),
    Option("digest-provider", "", "NAME", "the only kind of signature to accept, by SWUpdate's name", WHO),
)  # fmt: skip
SELECTION_OPTIONS = (
    Option("file", "f", "FILE", "settings file, default /etc/swupdate.cfg", HOW),
    Option(
        "select", "e", "SET,MODE", "software set and mode; auto: those of the copy that does not run", WHAT
    ),
    Option("hwrevision", "H", "BOARD:REV", "this unit's hardware, instead of /etc/hwrevision", WHAT),
)
BOOTLOADER_OPTIONS = (
    Option("bootloader", "B", "NAME", "uboot, grub, ebg, none, or one of a plug-in", HOW),
    Option("fwenv-config", "", "FILE", "where U-Boot's environment is, default /etc/fw_env.config", HOW),
    Option("grubenv", "", "FILE", "GRUB's environment block, default /boot/efi/EFI/BOOT/grub/grubenv", HOW),
)
WEB_OPTION = Option(
    "webserver",
    "w",
    "ARGS",
    "settings of the web server in SWUpdate's words, such as '-p 8080'",
    HOW,
    dashes=True,
)
STATE_OPTION = Option(
    "state-directory", "", "DIR", "where the journal is, default /var/lib/swagent; none for none", HOW
)
SERVER = "how to fetch from a server"
SERVER_OPTIONS = (
    Option("cafile", "", "FILE", "authorities to believe, instead of the system's", SERVER),
    Option("sslcert", "", "FILE", "certificate to show to the server", SERVER),
    Option("sslkey", "", "FILE", "its private key, when it is not in the same file", SERVER),
    Option("proxy", "", "URL", "fetch through this proxy", SERVER),
    Option("retries", "", "N", "how often to try again in a row, default 3", SERVER),
    Option(
        "retry-wait",
        "",
        "SECONDS",
        "before the first further attempt, default 5; later ones wait longer",
        SERVER,
    ),
    Option("timeout", "", "SECONDS", "how long a server may bring nothing, default 300", SERVER),
    Option("max-download-speed", "", "SPEED", "bytes per second, such as 500k or 2M", SERVER),
)
COMMAND = Command(
    "install",
    "Install an update. `swagent -i FILE` is the same; `-` reads standard input, https://... a server.",
    "install:run",
    options=(
        Option("image", "i", "FILE", "the update: a file, - for standard input, or a URL (http, https)", WHAT),
        Option("check", "c", help="read and verify everything, write nothing; needs -i", group=WHAT),
        Option("dry-run", "n", help="like --check, for any source", group=WHAT),
        *SELECTION_OPTIONS,
        Option("accepted-select", "q", "SET,MODE", "selections that others may ask for; an install has no others",
               WHAT, True),
        *TRUST_OPTIONS,
        Option("hash-provider", "", "NAME", "accepted for SWUpdate's sake: SHA-256 is the same everywhere", WHO,
               choices=("opensslSHA256", "WolfSSLSHA256", "mbedtlsSHA256")),
        Option("decrypt-provider", "", "NAME", "accepted for SWUpdate's sake: AES is the same everywhere", WHO,
               choices=("opensslAES", "WolfSSL", "mbedtlsAES", "pkcs11")),
        Option("no-downgrading", "N", "VERSION", "refuse anything lower", HOW),
        Option("no-reinstalling", "R", "VERSION", "refuse this very version", HOW),
        Option("max-version", "", "VERSION", "refuse anything higher", HOW),
        Option("version-floor", help="refuse what is lower than the highest version ever confirmed here", group=HOW),
        Option("below-floor", "", "REASON", "install it all the same; the reason stays in the journal", HOW),
        Option("over-unconfirmed", "", "REASON", "install over an update that is not confirmed; likewise", HOW),
        STATE_OPTION,
        *BOOTLOADER_OPTIONS,
        Option("no-transaction-marker", "M", help="never write recovery_status", group=HOW),
        Option("no-state-marker", "m", help="never write ustate", group=HOW),
        Option("preupdate", "P", "COMMAND", "shell command before anything is written", HOW),
        Option("postupdate", "p", "COMMAND", "shell command after success", HOW),
        Option("gen-swversions", "s", "FILE", "write what is installed there after success", HOW),
        Option("verify-first", help="read everything before writing; a stream is kept in TMPDIR for it", group=HOW),
        Option("verify-write", help="read back what raw and rawfile have written, and compare", group=HOW),
        Option("verify-cpio-sum", help="check cpio sums also where a sha256 is checked", group=HOW),
        Option("ask", help="show the plan on the terminal and ask before anything is written", group=HOW),
        Option("allow-nothing", help="succeed when everything is installed already", group=HOW),
        Option("blacklist", "b", "MTDS", 'numbers of MTDs on which UBI is left alone, such as "0 1"', HOW),
        Option("output", "o", "FILE", "save what comes from standard input or a server, install from it", HOW),
        *SERVER_OPTIONS,
        Option("json", help="one event a line, for programs", group=OUT),
        Option("quiet", help="only the verdict", group=OUT),
        Option("verbose", "v", help="all log lines", group=OUT),
        Option("loglevel", "l", "0..5", "how much to log: 1 errors, 2 warnings, 3 infos, 4 traces, 5 all", OUT),
        Option("syslog", "L", help="log to syslog too", group=OUT),
    ),
    arguments=("[FILE]",),
    examples=(
        "swagent -i update.swu -k release.pem -e stable,copy2   # into the second copy",
        "curl -s https://host/update.swu | swagent install - -k release.pem",
        "swagent -i https://host/update.swu -k release.pem --cafile ca.pem",
        "swagent -c -i update.swu -k release.pem -H gateway:1.3  # verify, write nothing",
    ),
)  # fmt: skip

_AS_SETTINGS = {
    "key-aes": "aes-key-file",
    "cert-purpose": "cert-purpose",
    "forced-signer-name": "forced-signer-name",
    "crl-path": "crl-path",
    "digest-provider": "digest-provider",
    "select": "select",
    "no-downgrading": "no-downgrading",
    "no-reinstalling": "no-reinstalling",
    "max-version": "max-version",
    "bootloader": "bootloader",
    "fwenv-config": "fwenv-config-location",
    "grubenv": "grubenv-path",
    "preupdate": "preupdatecmd",
    "postupdate": "postupdatecmd",
    "gen-swversions": "gen-swversions",
    "state-directory": "state-directory",
    "blacklist": "mtd-blacklist",
    "control": "daemon.control-socket",
    "progress": "daemon.progress-socket",
    "progress-2022": "daemon.progress-socket-2022",
    "events": "daemon.event-socket",
    "socket-mode": "daemon.socket-mode",
    "socket-group": "daemon.socket-group",
}
_AS_SETTINGS |= {option.long: f"download.{option.long}" for option in SERVER_OPTIONS}
_AS_SETTINGS["retry-wait"] = "download.retrywait"

FOR_DOORS: Mapping[str, str] = {
    option: "SWAGENT_" + key.upper().replace("-", "_").replace(".", "_")
    for option, key in _AS_SETTINGS.items()
    if key.startswith("download.") or key == "state-directory"
}
"""Options that the daemon's child processes must know too, and the variables by which they hear of them."""
SETTING_OPTIONS = (
    *_AS_SETTINGS,
    "file",
    "key",
    "loglevel",
    "verbose",
    "syslog",
    "verify-write",
    "version-floor",
)
"""Options that change a setting."""


def settings_of(args: Args) -> tuple[InstallSettings, list[str]]:
    """All layers of the settings, the command line on top; and which keys of the files are not used."""
    settings, ignored = read_settings(args.get("file"), os.environ)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    if args.all("key"):
        values["public-key-file"] = args.all("key")
        origins["public-key-file"] = "command line --key"
    for option, key in _AS_SETTINGS.items():
        value = args.get(option)
        if value is not None:
            values[key] = value
            origins[key] = f"command line --{option}"
    level = args.get("loglevel")
    if level is not None:
        if level not in ("0", "1", "2", "3", "4", "5"):
            raise UsageError(f"--loglevel takes 0 to 5, not {level!r}")
        values["loglevel"], origins["loglevel"] = int(level), "command line --loglevel"
    if args.on("verbose"):
        values["loglevel"], origins["loglevel"] = 5, "command line --verbose"
    if args.on("version-floor"):
        values["version-floor"], origins["version-floor"] = True, "command line --version-floor"
    if args.on("verify-write"):
        values["verify-write"], origins["verify-write"] = True, "command line --verify-write"
    if args.on("syslog"):
        values["syslog"], origins["syslog"] = True, "command line --syslog"
    if args.get("webserver") is not None:
        from swagent.web.options import from_words

        for key, word in from_words(args.get("webserver") or "").items():
            values[f"webserver.{key}"], origins[f"webserver.{key}"] = word, "command line --webserver"
    if not values:
        return settings, ignored
    try:
        return layer(settings, values, origins=origins), ignored
    except SettingsError as exc:  # the files were sound, so it is one of these words
        raise UsageError(exc.message, hint=exc.hint) from exc


def run(args: Args) -> int:
    """Install; returns 0, errors are raised (with ``--json`` they are the last line)."""
    image = _image(args)
    screens: list[Screen | LateScreen] = []
    bus = EventBus()
    if args.on("json"):
        from .jsonlines import JsonLines

        screens.append(Screen(bus, JsonLines(sys.stdout)))
    session = None
    try:
        session = _prepare(args, image, bus, screens)
        session.run()
    except SwagentError as exc:
        if not args.on("json"):
            raise
        if session is None:
            bus.publish(refused_early(exc, now_s=SystemClock().now_s()))
        return exc.exit_code
    finally:
        for screen in screens:
            screen.close()
    return 0


def wishes_of(args: Args, question: "Question | None" = None) -> Wishes:
    """What the options ask for that is no setting."""
    dry_run = args.on("check") or args.on("dry-run")
    return Wishes(
        allow_unsigned=args.on("allow-unsigned"),
        hardware=read_hardware(args.get("hwrevision")),
        dry_run=dry_run,
        verify_first=args.on("verify-first"),
        verify_cpio_sum=args.on("verify-cpio-sum"),
        nothing_is_success=args.on("allow-nothing"),
        transaction_marker=not args.on("no-transaction-marker"),
        state_marker=not args.on("no-state-marker"),
        below_floor=_reason(args, "below-floor"),
        over_unconfirmed=_reason(args, "over-unconfirmed"),
        judge_unit=not dry_run,
        ask=question.ask if question else None,
        user_data_failed=question.user_data_failed if question else None,
    )


def _prepare(args: Args, image: str, bus: EventBus, screens: list[Screen | LateScreen]) -> Session:
    settings, ignored = settings_of(args)
    question = _question(args)
    wishes = wishes_of(args, question)
    if not args.on("json"):
        from .terminal import is_terminal, make_terminal

        loglevel = settings.loglevel if settings.loglevel is not None else 2
        terminal = make_terminal(sys.stdout, os.environ, args.on("quiet"), log_level=_LOG_LEVELS[loglevel])
        screens.append((Screen if is_terminal(sys.stdout) or loglevel > 2 else LateScreen)(bus, terminal))
    if settings.syslog:
        from .screen import Syslog

        screens.append(Screen(bus, Syslog()))
    if not wishes.dry_run:
        lock(os.environ)
    output = args.get("output")
    if output is not None:
        save(open_update(image, settings), output)
    source = open_update(output or image, settings)
    stop = _Stop()
    if question is not None:
        question.stopped = stop.asked
    session, _ = make_session(settings, wishes, source, bus=bus, environ=os.environ, cancelled=stop.asked)
    for text in warnings_of(image, settings):
        session.log("warn", text)
    for text in ignored:
        session.log("info", text)
    return session


def _reason(args: Args, option: str) -> str:
    reason = args.get(option)
    if reason is not None and not reason.strip():
        raise UsageError(f"--{option} wants a reason")
    return reason or ""


_LOG_LEVELS = ("error", "error", "warn", "info", "trace", "debug")


def _question(args: Args) -> "Question | None":
    if not args.on("ask") or args.on("check") or args.on("dry-run"):
        return None
    from .question import Question

    return Question()


def _image(args: Args) -> str:
    image = args.get("image")
    if args.arguments:
        if image is not None:
            raise UsageError(f"-i {image} and {args.arguments[0]!r} name two images")
        image = args.arguments[0]
    if args.on("check") and args.get("image") is None:
        raise UsageError("--check needs -i")
    if args.get("output") is not None and image != "-" and not is_url(image or ""):
        raise UsageError("--output saves a stream; a file is saved already", hint="use it with `install -`")
    if image is None:
        raise UsageError("which image? name it with -i", hint="see `swagent install --help`")
    return image


class _Stop:
    """Remembers that somebody wants the update to stop."""

    def __init__(self) -> None:
        import signal

        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def asked(self) -> bool:
        return self._asked

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
