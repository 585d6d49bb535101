"""``swagent lab actuator``: switch something."""

from .lab_parts import SERVER_OPTIONS, connected, one_of, parameters_of
from .options import Args, Command

COMMAND = Command(
    name="lab actuator",
    summary="change-mode: switch an actuator; its parameters are a JSON object",
    target="lab_actuator:run",
    arguments=("ACTUATOR", "VERB", "PARAMETERS"),
    options=SERVER_OPTIONS,
    examples=("""swagent lab actuator relay change-mode '{"mode": "off"}'""",),
)


def run(args: Args) -> int:
    """Switch; it has happened when this returns."""
    from swagent.lab.items import ItemType

    item, verb, text = args.arguments
    one_of(verb, ("change-mode",))
    parameters = parameters_of(text)
    with connected(args) as client:
        client.change_actuator(client.find(ItemType.ACTUATOR, item), parameters)
    return 0
