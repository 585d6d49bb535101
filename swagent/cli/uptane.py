"""``swagent uptane``: the vehicle's side of Uptane, and plain TUF repositories."""

from .options import Group

COMMAND = Group(
    name="uptane",
    summary="keep a vehicle up to date from a Director and an Image repository",
    verbs=(("tuf", "uptane_tuf", "use a plain TUF repository: init, refresh, download"),),
)
