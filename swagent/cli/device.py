"""``swagent info`` without a file: how this device stands."""

import os
import sys

from swagent.app import read_hardware
from swagent.facts import device_facts
from swagent.settings import InstallSettings
from swagent.state import is_busy

from .options import Args
from .table import print_table
from .units import clean


def show_device(args: Args, settings: InstallSettings) -> int:
    """Print versions, state, the last updates, floor and markers; nothing is changed."""
    busy = is_busy(os.environ)
    facts = device_facts(settings, read_hardware(None), environ=os.environ, busy=busy)
    if args.on("json"):
        import json

        sys.stdout.write(json.dumps(facts) + "\n")
        return 0
    lines = [
        ("hardware", facts["hardware"] or "unknown"),
        ("state", facts["state"]),
        ("floor", facts["floor"] or "none"),
        ("markers", "  ".join(f"{name}={value}" for name, value in facts["markers"].items()) or "none"),
    ]
    for name, value in lines:
        sys.stdout.write(f"{name:<9} {clean(value)}\n")
    for problem in facts["problems"]:
        sys.stdout.write(f"warning   {clean(problem)}\n")
    if facts["versions"]:
        sys.stdout.write("\n")
        rows = [(name, " ".join(versions)) for name, versions in facts["versions"].items()]
        print_table(sys.stdout, ("component", "version"), rows)
    if facts["updates"]:
        sys.stdout.write("\n")
        head = ("started", "version", "selection", "verdict", "why")
        print_table(sys.stdout, head, [tuple(one[key] for key in head) for one in facts["updates"]])
    return 0
