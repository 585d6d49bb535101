"""``swagent lab configure``: the list of servers, in the words of Boardswarm 0.0.1's command line."""

from swagent.errors import UsageError

from .lab_auth import LIST_OPTIONS, add, changed
from .lab_parts import config_path
from .options import Args, Command, Option

COMMAND = Command(
    name="lab configure",
    summary="as `lab auth`, in the words of boardswarm-cli 0.0.1: change a server of the list, or add a --new one",
    target="lab_configure:run",
    options=(
        Option("new", "", help="add it"),
        Option("default", "", help="make it the default one"),
        *LIST_OPTIONS,
    ),
    examples=(
        "swagent lab configure --new --default -i office -u http://lab.example:6683 --token-file token",
    ),
)


def run(args: Args) -> int:
    """Read the list, change it, write it."""
    from swagent.lab.servers import choose, read_servers, write_servers

    path, name = config_path(args), args.get("instance")
    if name is None:
        raise UsageError("configure needs -i NAME")
    servers = read_servers(path)
    if args.on("new"):
        add(args, servers, name, path)
    else:
        found = choose(servers, name, path)
        servers[servers.index(found)] = changed(args, found)
    if args.on("default"):
        found = choose(servers, name, path)
        servers.remove(found)
        servers.insert(0, found)
    write_servers(path, servers)
    return 0
