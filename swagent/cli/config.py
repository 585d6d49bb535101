"""``swagent config``: the settings in force and who set them."""

import sys

from swagent.settings import table

from .install import COMMAND as INSTALL
from .install import SETTING_OPTIONS, WEB_OPTION, settings_of
from .options import Args, Command, Option
from .table import print_table

COMMAND = Command(
    "config",
    "Show the settings that an install would use: defaults, swupdate.cfg, swupdate.cfg.d, SWAGENT_*, command line.",
    "config:run",
    options=(
        Option("origins", help="also say who set each value"),
        *(option for option in INSTALL.options if option.long in SETTING_OPTIONS),
        WEB_OPTION,
    ),
    examples=("swagent config --origins", "swagent config -f swupdate.cfg -k release.pem"),
)  # fmt: skip


def run(args: Args) -> int:
    """Print the table; keys that are not used are listed behind it."""
    settings, ignored = settings_of(args)
    rows = table(settings)
    if args.on("origins"):
        print_table(sys.stdout, ("setting", "value", "origin"), rows)
    else:
        print_table(sys.stdout, ("setting", "value"), [row[:2] for row in rows])
    for text in ignored:
        sys.stdout.write(f"ignored: {text}\n")
    return 0
