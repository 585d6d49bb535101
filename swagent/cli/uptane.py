"""``swagent uptane``: the vehicle's side of Uptane, and plain TUF repositories."""

from .options import Group

COMMAND = Group(
    name="uptane",
    summary="keep a vehicle up to date from a Director and an Image repository",
    verbs=(
        ("provision", "uptane_provision", "give a vehicle the roots and keys that it begins with"),
        ("update", "uptane_update", "one cycle of a Primary"),
        ("tuf", "uptane_tuf", "use a plain TUF repository: init, refresh, download"),
    ),
)
