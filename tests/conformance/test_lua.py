"""Lua in images and on the device: scripts, hooks, the embedded script, handlers; Debian's SWUpdate has Lua 5.3."""

import gzip
from pathlib import Path

import pytest

from tests.conftest import KeyRing

from .bench import Case, check, entry, files, images, params, scripts, section, software, to_file, value_text

A = b"content of a\n"
OUT = """
local function out(path, ...)
  local file = io.open(path, "a")
  local words = {...}
  for n = 1, select("#", ...) do words[n] = tostring(words[n]) end
  file:write(table.concat(words, " "), "\\n")
  file:close()
end
"""
TELLS = (
    OUT
    + """
function preinst(path) out(path, "preinst") return true, "a text for the log" end
function postinst(path) out(path, "postinst") return true end
"""
)
BOTH = b"preinst\npostinst\n"


def script(code: str, name: str, **more: object) -> Case:
    """A Lua script that is given a path to write to."""
    attributes = more.pop("attributes", {})
    description = software(scripts(entry("one", type="lua", data="@ROOT@/log", **attributes)))  # type: ignore[arg-type]  # a dict
    return Case(name=name, description=description, members={"one": (OUT + code).encode()}, **more)  # type: ignore[arg-type]  # fields of Case


def embedded(code: str) -> str:
    return f"embedded-script = {value_text(OUT + code)};"


def hook(code: str, name: str, **more: object) -> Case:
    """An entry of files whose hook has this body."""
    description = software(embedded(f"function h(image) {code} end"), files(to_file("a", hook="h")))
    return Case(name=name, description=description, members={"a": A}, **more)  # type: ignore[arg-type]  # fields of Case


def handler(code: str, name: str, *, mask: str = "IMAGE_HANDLER", **more: object) -> Case:
    """An image for a Lua handler of the device with this body."""
    attributes = more.pop("attributes", {})
    more.setdefault("members", {"a": A})
    more.setdefault("description", software(images(entry("a", type="h", **attributes))))  # type: ignore[arg-type]  # a dict
    return Case(name=name, handlers=registration(code, mask), **more)  # type: ignore[arg-type]  # fields of Case


def registration(code: str, mask: str) -> str:
    words = "".join(f", swupdate.HANDLER_MASK.{word}" for word in mask.split("+") if word)
    words = " +".join(words.rsplit(",", words.count(",") - 1)) if words.count(",") > 1 else words
    return f"""{OUT}
require("swupdate")
swupdate.register_handler("h", function(image, phase)
{code}
end{words})
"""


READ = 'local n = 0 local err = image:read(function(data) n = n + #data return 0 end) out("@ROOT@/log", n, err == 0)'
COPY = 'return (image:copy2file("@ROOT@/copy"))'
GLOBAL = {"global-state": "true", "preinstall": "first"}

CASES = [
    # -- scripts
    script(TELLS, "script", holds={"log": BOTH}, quick=True),
    script("function preinst() return false, 'no' end", "script-says-no", ok=False, exit=42),
    script("function preinst() end", "script-says-nothing", ok=False, exit=42),
    script("function preinst() return 0 end", "script-says-0", ok=False, exit=42),
    script("function preinst() error('oops') end", "script-raises", ok=False, exit=42, says="oops"),
    script("function preinst() error({}) end", "script-raises-a-table", ok=False, exit=42),
    script("function preinst(", "script-is-no-lua", ok=False, exit=42),
    script("error('at once')", "script-raises-while-loaded", ok=False, exit=42),
    script("", "script-without-functions"),
    script(
        "n = (n or 0) + 1 function preinst(p) out(p, n) return true end function postinst(p) out(p, n) return true end",
        "script-has-a-state-for-each-phase",
        holds={"log": b"1\n1\n"},
    ),
    script(
        "function preinst(p) out(p, 'pre') return true end function postinst() return false end\n"
        "function postfailure(p) out(p, 'failed') return true end",
        "script-postfailure",
        ok=False,
        holds={"log": b"pre\n"},
        exit=42,
        ours={"log": b"pre\nfailed\n"},
        differs="postfailure",
    ),
    script(
        "function mine(p) out(p, 'mine') return true end function preinst(p) out(p, 'preinst') return true end",
        "script-renamed-functions",
        attributes={"properties": {"preinstall": "mine"}},
        holds={"log": b"preinst\n"},
        ours={"log": b"mine\n"},
        differs="names of Lua functions",
    ),
    Case(
        name="script-global-state",
        description=software(
            embedded("word = 'shared'"),
            scripts(entry("one", type="lua", data="@ROOT@/log", properties=GLOBAL)),
        ),
        members={"one": (OUT + "function first(p) out(p, word) return true end").encode()},
        ours={"log": b"shared\n"},
        differs="names of Lua functions",
    ),
    script(TELLS, "script-dry-run", words=("-n",)),
    Case(
        name="script-beside-files",
        description=software(files(to_file("a")), scripts(entry("one", type="lua", data="@ROOT@/log"))),
        members={
            "a": A,
            "one": (
                OUT
                + "function preinst(p) out(p, io.open((p:gsub('log$', 'a'))) ~= nil) return true end "
                + "function postinst(p) out(p, io.open((p:gsub('log$', 'a'))) ~= nil) return true end"
            ).encode(),
        },
        holds={"a": A, "log": b"false\ntrue\n"},
    ),
    # -- hooks and the embedded script
    hook("image.path = '@ROOT@/other' return true, image", "hook-path", holds={"other": A}, quick=True),
    hook("return true, image", "hook-changes-nothing", holds={"a": A}),
    hook("image.path = '@ROOT@/other' return true, true", "hook-drops-its-changes", holds={"a": A}),
    hook("image.path = nil return true, image", "hook-takes-away", holds={"a": A}),
    hook("return true, nil", "hook-skips-all", ok=False, exit=11),
    hook("return false, image", "hook-says-no", ok=False, exit=42),
    hook("return 1, image", "hook-says-1", ok=False, exit=42),
    hook("return nil", "hook-says-nothing", ok=False, exit=42),
    hook("error('x')", "hook-raises", ok=False, exit=42),
    hook("image.type = 'nope' return true, image", "hook-type-unknown", ok=False, exit=11),
    hook("image.filename = 'b' return true, image", "hook-filename", ok=False, exit=10),
    hook(
        "image.type = 'raw' image.device = '@ROOT@/disk' image.offset = 3 return true, image",
        "hook-type-and-device",
        device={"disk": b"." * 20},
        holds={"disk": b"..." + A + b"." * (17 - len(A))},
    ),
    hook("image.offset = 5 return true, image", "hook-offset", holds={"a": bytes(5) + A}),
    hook("image.installed_directly = true return true, image", "hook-streams", holds={"a": A}),
    hook("image.mine = function() end image.data = 'x' return true, image", "hook-more-keys", holds={"a": A}),
    hook(
        "image.sha256 = '00' return true, image",
        "hook-hash-malformed",
        holds={"a": A},
        exit=11,
        ours={},
        differs="malformed values",
    ),
    hook(
        "out('@ROOT@/log', image.sha256 == '@SHA:a@', image.type, image.filename, image.compressed, image.script,"
        " image.install_if_different, image.properties ~= nil, image.size == 0) return true, image",
        "hook-sees",
        holds={"a": A, "log": b"true rawfile a false false false true true\n"},
    ),
    Case(
        name="hook-skips-one",
        description=software(
            embedded("function h() return true end"), files(to_file("a", hook="h"), to_file("b"))
        ),
        members={"a": A, "b": A},
        holds={"b": A},
    ),
    Case(
        name="hook-unknown",
        description=software(embedded("x = 1"), files(to_file("a", hook="h"))),
        members={"a": A},
        ok=False,
        exit=42,
    ),
    Case(
        name="hook-without-script",
        description=software(files(to_file("a", hook="h"))),
        members={"a": A},
        holds={"a": A},
        exit=42,
        ours={},
        differs="`hook` without `embedded-script`",
    ),
    Case(
        name="hook-of-a-script",
        description=software(
            embedded("function h(image) image.data = '@ROOT@/other' return true, image end"),
            scripts(entry("one", type="lua", data="@ROOT@/log", hook="h")),
        ),
        members={"one": TELLS.encode()},
        holds={"other": BOTH},
    ),
    Case(
        name="hook-of-a-variable",
        description=software(
            embedded("function h(image) out('@ROOT@/log', image.name, image.version) return true, image end"),
            files(to_file("a")),
            section("bootenv", entry(name="slot", value="b", hook="h")),
        ),
        members={"a": A},
        words=("-B", "none"),
        holds={"a": A, "log": b"slot b\n"},
    ),
    Case(
        name="hook-in-json",
        description='{"software": {"version": "1.0", "hardware-compatibility": ["1.0"], "embedded-script":'
        " \"function h(image) image.path = '@ROOT@/other' return true, image end\","
        ' "files": [{"filename": "a", "path": "@ROOT@/a", "hook": "h", "sha256": "@SHA:a@"}]}}',
        members={"a": A},
        holds={"other": A},
    ),
    Case(
        name="embedded-script-is-no-lua",
        description=software('embedded-script = "x = = 1";', files(to_file("a"))),
        members={"a": A},
        ok=False,
        exit=42,
        quick=True,
    ),
    Case(
        name="embedded-script-raises",
        description=software("embedded-script = \"error('no')\";", files(to_file("a"))),
        members={"a": A},
        ok=False,
        exit=42,
    ),
    Case(
        name="embedded-script-asks",
        description=software(
            embedded(
                "local hw, stat, root = swupdate.get_hw(), swupdate.stat('/etc/passwd'), swupdate.getroot()\n"
                "assert(require('swupdate') == swupdate and hw.boardname == 'board' and hw.revision == '1.0')\n"
                "assert(root.type == swupdate.ROOT_DEVICE.PATH and root.value:sub(1, 5) == '/dev/')\n"
                "assert(stat.mode == 'regular file' and stat.permissions == 'rw-r--r--' and stat.uid == 0)\n"
                "assert(swupdate.stat('/dev/null').mode == 'char device' and swupdate.stat('/nowhere') == nil)\n"
                "assert(select('#', swupdate.get_selection()) == 2 and swupdate.RECOVERY_STATUS.SUCCESS == 3)\n"
                "assert(swupdate.get_bootenv('nowhere') == nil)"
            ),
            files(to_file("a")),
        ),
        members={"a": A},
        holds={"a": A},
    ),
    Case(
        name="embedded-script-in-a-dry-run",
        description=software(
            embedded("function h(image) out('@ROOT@/log', 'ran') return true, image end"),
            files(to_file("a", hook="h")),
        ),
        members={"a": A},
        words=("-c",),
        holds={"log": b"ran\n"},
    ),
    Case(
        name="embedded-script-starts-programs",
        description=software(
            embedded("os.execute('echo ran > @ROOT@/log') os.execute = nil"), files(to_file("a"))
        ),
        members={"a": A},
        holds={"a": A, "log": b"ran\n"},
        exit=42,
        ours={},
        differs="rights of Lua code",
        quick=True,
    ),
    Case(
        name="embedded-script-newer-functions",
        description=software(
            embedded(
                "out('@ROOT@/log', swupdate.is_dryrun(), swupdate.tmpdir():sub(-1), type(swupdate.get_cmdline()))"
            ),
            files(to_file("a")),
        ),
        members={"a": A},
        ok=False,
        exit=0,
        ours={"a": A, "log": b"false / table\n"},
        differs="module `swupdate`",
    ),
    Case(
        name="embedded-script-registers",
        description=software(
            embedded(f"swupdate.register_handler('h', function(image) {COPY} end)"),
            images(entry("a", type="h")),
        ),
        members={"a": A},
        ok=False,
        exit=0,
        ours={"copy": A},
        differs="module `swupdate`",
    ),
    Case(
        name="functions-of-an-entry",
        description=software(
            embedded(
                "function before(image) image.path = '@ROOT@/other' return true, image end\n"
                "function after(image) out('@ROOT@/log', image.path == '@ROOT@/other') return true, image end"
            ),
            files(to_file("a", preinstall="before", postinstall="after")),
        ),
        members={"a": A},
        holds={"a": A},
        ours={"other": A, "log": b"true\n"},
        differs="functions of an entry",
    ),
    # -- handlers of the device
    handler(COPY, "handler-copy", holds={"copy": A}, quick=True),
    handler(COPY, "handler-copy-streamed", attributes={"installed_directly": True}, holds={"copy": A}),
    handler(COPY, "handler-copy-over", device={"copy": b"long" * 20}, holds={"copy": A}),
    handler(
        COPY,
        "handler-copy-compressed",
        attributes={"compressed": "zlib"},
        members={"a": gzip.compress(A, mtime=0)},
        holds={"copy": A},
    ),
    handler(
        'if image:copy2file("@ROOT@/no/copy") == 0 then return 1 end ' + COPY,
        "handler-tries-again",
        holds={"copy": A},
    ),
    handler(READ + " return err", "handler-read", holds={"log": b"13 true\n"}, quick=True),
    handler(
        READ + " return err",
        "handler-read-large",
        members={"a": bytes(100_000)},
        ok=False,
        holds={"log": b"0 false\n"},
        exit=0,
        ours={"log": b"100000 true\n"},
        differs="`image:read`",
    ),
    handler(
        "err, msg = image:read(function(data) print(data) end)\n"
        "if err ~= 0 then swupdate.error(msg) return 1 end return 0",
        "handler-read-says-nothing",
    ),
    handler(
        'image.path = "@ROOT@/chained" local err, msg = swupdate.call_handler("rawfile", image) return err',
        "handler-chain",
        holds={"chained": A},
        quick=True,
    ),
    handler(
        'image.offset = 2 return (swupdate.call_handler("raw", image))',
        "handler-chain-raw",
        attributes={"device": "@ROOT@/disk"},
        device={"disk": b"." * 20},
        holds={"disk": b".." + A + b"." * (18 - len(A))},
    ),
    handler('return (swupdate.call_handler("nope", image))', "handler-chain-unknown", ok=False, exit=11),
    handler(
        'return (swupdate.call_handler("shellscript", image))', "handler-chain-script", ok=False, exit=11
    ),
    handler('return (swupdate.call_handler("rawfile", image))', "handler-chain-no-path", ok=False, exit=11),
    handler(
        'swupdate.register_handler("i", function(other) return (other:copy2file("@ROOT@/copy")) end)'
        ' return (swupdate.call_handler("i", image))',
        "handler-chain-lua",
        holds={"copy": A},
    ),
    handler(READ, "handler-says-nothing", ok=False, holds={"log": b"13 true\n"}, exit=42),
    handler(READ + " return false", "handler-says-false", ok=False, holds={"log": b"13 true\n"}, exit=42),
    handler("return 1", "handler-says-1", ok=False, exit=42),
    handler("error('x')", "handler-raises", ok=False, exit=42),
    handler(
        READ + " return '0'",
        "handler-says-a-text",
        holds={"log": b"13 true\n"},
        exit=42,
        differs="careless Lua handlers",
    ),
    handler("return 0", "handler-does-not-read", exit=10, differs="careless Lua handlers"),
    handler(
        "image:read(function() error('x') end) return 0",
        "handler-read-raises",
        exit=42,
        differs="careless Lua handlers",
    ),
    handler(
        "image:read(function() return 0 end) return 0",
        "handler-does-not-mind-a-bad-hash",
        attributes={"installed_directly": True, "sha256": "ab" * 32},
        members={"a": b"16 bytes of data"},
        exit=21,
        differs="careless Lua handlers",
    ),
    handler(COPY, "handler-for-any-section", mask="ANY_HANDLER", ok=False, exit=71),
    handler(COPY, "handler-without-mask", mask="", holds={"copy": A}),
    handler(
        COPY,
        "handler-without-mask-needs-a-hash",
        mask="",
        attributes={"sha256": None},
        holds={"copy": A},
        exit=11,
        ours={},
        differs="Lua handlers without a mask",
    ),
    handler(COPY, "handler-needs-a-hash", attributes={"sha256": None}, ok=False, exit=11),
    handler(
        "return (image:copy2file(image.path))",
        "handler-in-files",
        mask="FILE_HANDLER",
        description=software(files(entry("a", type="h", path="@ROOT@/b"))),
        holds={"b": A},
    ),
    handler(
        'out("@ROOT@/log", phase, image.data, image.script) return 0',
        "handler-in-scripts",
        mask="SCRIPT_HANDLER+NO_DATA_HANDLER",
        description=software(files(to_file("a")), scripts(entry(type="h", data="words"))),
        holds={"a": A, "log": b"preinst words true\npostinst words true\n"},
    ),
    handler(
        COPY,
        "handler-in-the-wrong-section",
        description=software(scripts(entry(type="h"))),
        ok=False,
        exit=11,
    ),
    handler(
        'n = (n or 0) + 1 return (image:copy2file("@ROOT@/" .. image.filename .. n))',
        "handler-has-one-state",
        description=software(images(entry("a", type="h"), entry("b", type="h"))),
        members={"a": A, "b": A},
        holds={"a1": A, "b2": A},
    ),
    handler('out("@ROOT@/log") return 1', "handler-dry-run", words=("-n",)),
    handler(
        'swupdate.set_bootenv("slot", "b") out("@ROOT@/log", swupdate.get_bootenv("slot")) ' + COPY,
        "handler-sets-a-variable",
        words=("-B", "none"),
        holds={"copy": A, "log": b"nil\n"},
    ),
    Case(
        name="handler-name-taken",
        description=software(files(to_file("a"))),
        members={"a": A},
        handlers='require("swupdate") swupdate.register_handler("rawfile", function() return 1 end)',
        holds={"a": A},
    ),
    Case(
        name="handlers-that-are-no-lua",
        description=software(files(to_file("a"))),
        members={"a": A},
        handlers="x = = 1",
        holds={"a": A},
    ),
    handler(
        COPY, "handler-unknown", description=software(images(entry("a", type="other"))), ok=False, exit=11
    ),
    Case(
        name="device-function-in-a-hook",
        description=software(embedded("x = 1"), files(to_file("a", hook="ours"))),
        members={"a": A},
        handlers="function ours(image) image.path = '@ROOT@/other' return true, image end",
        ok=False,
        exit=0,
        ours={"other": A},
        differs="module `swupdate`",
    ),
]


@pytest.mark.parametrize("case", params(CASES))
def test_lua(case: Case, tmp_path: Path, key_ring: KeyRing) -> None:
    check(case, tmp_path, key_ring)
