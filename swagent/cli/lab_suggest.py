"""``swagent lab suggest``: rules for the configuration."""

from .lab_parts import SERVER_OPTIONS, TYPES, connected, type_of
from .options import Args, Command

COMMAND = Command(
    name="lab suggest",
    summary=f"for each item a `match` that fits it alone, for the server's configuration: {', '.join(TYPES[1:])}",
    target="lab_suggest:run",
    arguments=("TYPE",),
    options=SERVER_OPTIONS,
    examples=("swagent lab suggest consoles",),
)


def run(args: Args) -> int:
    """A comment with the name, and the rule."""
    from swagent.lab.suggest import as_yaml, rule_for

    from .units import clean

    kind = type_of(args.arguments[0])
    with connected(args) as client:
        known = [client.properties(kind, item.number) for item in client.items(kind)]
    for number, item in enumerate(known):
        rule = rule_for(item, known[:number] + known[number + 1 :])
        print(f"# {clean(item.get('boardswarm.name', ''))}")
        print(clean(as_yaml(rule)) if rule is not None else "# nothing tells it from the others")
    return 0
