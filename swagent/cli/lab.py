"""``swagent lab``: boards at hand: consoles, power, storage; the server, and a client of any Boardswarm server."""

from .options import Group

COMMAND = Group(
    name="lab",
    summary="share boards: serve their consoles, volumes and power, and use those of any Boardswarm server",
    verbs=(
        ("serve", "lab_serve", "serve the boards of a configuration"),
        ("token", "lab_token", "make a token for somebody, and the keys that a server believes"),
        ("auth", "lab_auth", "keep a list of servers and their tokens"),
        ("configure", "lab_configure", "the same list, in the words of Boardswarm 0.0.1"),
        ("list", "lab_list", "what there is: devices, consoles, actuators or volumes"),
        ("monitor", "lab_monitor", "the same, and what comes and goes"),
        ("properties", "lab_properties", "everything known of one item"),
        ("suggest", "lab_suggest", "rules for the configuration that fit one item each"),
        ("device", "lab_device", "a board: how it is, its modes, its console, its storage"),
        (
            "test-update",
            "lab_test_update",
            "update a board for trial: boot, install, reboot, confirm, and a verdict",
        ),
        ("console", "lab_console", "a console: use it, watch it, set it up"),
        ("volume", "lab_volume", "storage: what it has, read, write, commit, erase"),
        ("ui", "lab_ui", "a board's console in a window, with its power at hand"),
        ("rock", "lab_rock", "boards with a chip of Rockchip: have the mask ROM run a loader"),
        ("actuator", "lab_actuator", "switch something"),
    ),
)
