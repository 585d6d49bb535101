"""A back end's list of campaigns."""

import json
from contextlib import suppress

from swagent.errors import MetadataError
from swagent.uptane_client.campaigns import CAMPAIGNS_MAX, read_campaigns


def one_input(data: bytes) -> None:
    """Read it."""
    with suppress(MetadataError):
        campaigns, odd = read_campaigns(data)
        assert len(campaigns) + odd <= CAMPAIGNS_MAX
        for campaign in campaigns:
            assert campaign.id and campaign.name
            assert campaign.size_bytes >= 0 and campaign.installation_s >= 0 and campaign.preparation_s >= 0


def seeds() -> list[bytes]:
    """Lists as aktualizr's back end gives them."""
    metadata = [
        {"type": "DESCRIPTION", "value": "this is my message"},
        {"type": "ESTIMATED_INSTALLATION_DURATION", "value": "20"},
        {"type": "ESTIMATED_PREPARATION_DURATION", "value": "10"},
    ]
    campaign = {
        "id": "c2eb7e8d",
        "name": "campaign1",
        "size": 62470,
        "autoAccept": True,
        "metadata": metadata,
    }
    lists: list[object] = [
        {"campaigns": [campaign, {"id": "2", "name": "plain"}]}, {"campaigns": []}, {"campaigns": [{}]}
    ]  # fmt: skip
    return [json.dumps(each).encode() for each in lists]
