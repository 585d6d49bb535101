"""``swagent uptane campaign``: what aktualizr's back end offers, and answers to it."""

import os
import sys
from typing import TYPE_CHECKING

from swagent.errors import Busy, SettingsError, TransportError, UsageError

from .options import Args, Command, Option
from .uptane_parts import OUT, STATE_OPTION, WHERE, lock_state, needed

if TYPE_CHECKING:
    from swagent.uptane_client.campaigns import Campaign
    from swagent.uptane_client.gateway import Gateway
    from swagent.uptane_client.news import News

COMMAND = Command(
    name="uptane campaign",
    summary="campaigns of a back end as aktualizr's: check, or accept, decline or postpone one",
    target="uptane_campaign:run",
    arguments=("VERB", "[ID]"),
    options=(
        STATE_OPTION,
        Option("server", metavar="URL", group=WHERE, help="the back end"),
        Option("json", group=OUT, help="one event a line, for programs"),
    ),
    examples=(
        "swagent uptane campaign check --state /var/lib/swagent/uptane --server https://ota.example.org",
        "swagent uptane campaign accept C1 --state /var/lib/swagent/uptane --server https://ota.example.org",
    ),
)


def run(args: Args) -> int:
    """List what is offered, or keep the answer and hand it in."""
    from swagent.clock import SystemClock
    from swagent.events import EventBus
    from swagent.uptane_client.campaigns import ANSWERS, ID_MAX
    from swagent.uptane_client.gateway import Gateway
    from swagent.uptane_client.news import News

    from .screen import Screen

    verb, *rest = args.arguments
    if verb not in ("check", *ANSWERS) or len(rest) != (verb != "check"):
        raise UsageError("say check, accept ID, decline ID or postpone ID")
    if rest and not 0 < len(rest[0]) <= ID_MAX:
        raise UsageError(f"an ID has 1 to {ID_MAX} characters")
    clock, bus = SystemClock(), EventBus()
    gateway = Gateway(needed(args, "server"), clock)
    news = News(bus, clock, os.urandom)
    screen = None
    if args.on("json"):
        from .jsonlines import JsonLines

        screen = Screen(bus, JsonLines(sys.stdout))
    try:
        if verb == "check":
            campaigns = _check(gateway, news)
            if screen is None:
                _show(campaigns)
        else:
            _answer(args, gateway, news, verb, rest[0])
    finally:
        if screen is not None:
            screen.close()
        gateway.close()
    return 0


def _check(gateway: "Gateway", news: "News") -> "tuple[Campaign, ...]":
    with news.completing("CampaignCheckComplete") as facts:
        campaigns, odd = gateway.campaigns()
        facts["campaigns"] = [campaign._asdict() for campaign in campaigns]
    if odd:
        print(f"warn: {odd} more make no sense", file=sys.stderr)
    return campaigns


def _show(campaigns: "tuple[Campaign, ...]") -> None:
    from .units import clean, size

    for campaign in campaigns:
        facts = [size(campaign.size_bytes)] if campaign.size_bytes else []
        facts += [f"about {campaign.preparation_s} s to prepare"] if campaign.preparation_s else []
        facts += [f"about {campaign.installation_s} s to install"] if campaign.installation_s else []
        facts += ["accepted by itself" if campaign.auto_accept else "waits for an answer"]
        print(clean(f"{campaign.id}: {campaign.name} ({', '.join(facts)})"))
        for line in campaign.description.splitlines():
            print(clean(f"    {line}"))
    if not campaigns:
        print("no campaigns")


def _answer(args: Args, gateway: "Gateway", news: "News", verb: str, campaign: str) -> None:
    from swagent.clock import SystemClock
    from swagent.uptane_client.campaigns import ANSWERS
    from swagent.uptane_client.outbox import Outbox
    from swagent.uptane_client.vehicle import Vehicle

    state = needed(args, "state")
    path = os.path.join(state, "vehicle.sqlite")
    if not os.path.exists(path):
        raise SettingsError(f"there is no vehicle in {state}", hint="`swagent uptane provision` begins one")
    quiet = args.on("json")
    said: list[str] = []
    vehicle = Vehicle(path)
    try:
        outbox = Outbox(vehicle, gateway, SystemClock(), os.urandom, lambda level, line: said.append(line))
        with news.completing(f"Campaign{verb.capitalize()}Complete"):
            outbox.put(ANSWERS[verb], campaign=campaign)
        try:
            lock_state(state)
        except Busy:
            if not quiet:
                print("the service that runs here hands it in")
            return
        outbox.deliver()
        if vehicle.events(1):
            raise TransportError(said[-1], hint="it is kept; the next cycle hands it in")
    finally:
        vehicle.close()
    if not quiet:
        print("handed in")
