"""``swagent uptane``: the vehicle's side of Uptane, and plain TUF repositories."""

from .options import Group

COMMAND = Group(
    name="uptane",
    summary="keep a vehicle up to date from a Director and an Image repository",
    verbs=(
        ("provision", "uptane_provision", "give a vehicle the roots and keys that it begins with"),
        ("update", "uptane_update", "one cycle of a Primary"),
        ("check", "uptane_check", "what an update would fetch"),
        ("download", "uptane_download", "an update without its installation"),
        ("install", "uptane_install", "what was downloaded and not installed"),
        ("manifest", "uptane_manifest", "what this vehicle reports: show it, or send it"),
        ("status", "uptane_status", "the vehicle's ECUs, what they run, the last results"),
        ("campaign", "uptane_campaign", "what a back end offers; accept, decline or postpone it"),
        ("pause", "uptane_pause", "hold up downloads and installations"),
        ("resume", "uptane_resume", "end the pause"),
        ("abort", "uptane_abort", "stop the download or installation that runs"),
        ("daemon", "uptane_daemon", "the Primary as a service, its Secondaries served"),
        ("secondary", "uptane_secondary", "an ECU that gets everything from its Primary"),
        ("tuf", "uptane_tuf", "use a plain TUF repository: init, refresh, download"),
    ),
)
