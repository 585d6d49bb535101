"""What an Image repository was made with, in a file of its folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from swagent.errors import DeviceError, SettingsError
from swagent.store.atomic import replace
from swagent.uptane.codecs import NAMES

from .repository import LIFETIME_S

SETTINGS = "repository.json"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Settings:
    """What a repository was made with.

    Attributes:
        dialect: the encoding.
        lifetime_s: role to how long a file is good for; delegated roles live as long as targets.
        consistent_snapshot: whether root tells clients to ask for versioned names; there are always both.
    """

    dialect: str = "tuf1"
    lifetime_s: Mapping[str, int] = field(default_factory=lambda: dict(LIFETIME_S))
    consistent_snapshot: bool = True


def write_settings(folder: str, settings: Settings) -> None:
    """Put them into a folder; from then on there is a repository.

    Raises:
        DeviceError: they cannot be written.
    """
    tree = {
        "dialect": settings.dialect,
        "lifetime_s": dict(settings.lifetime_s),
        "consistent_snapshot": settings.consistent_snapshot,
    }
    replace(os.path.join(folder, SETTINGS), json.dumps(tree, indent=1, sort_keys=True).encode() + b"\n")


def read_settings(folder: str) -> Settings:
    """Those of the repository in a folder.

    Raises:
        SettingsError: there is none, or they make no sense.
        DeviceError: they cannot be read.
    """
    path = os.path.join(folder, SETTINGS)
    try:
        with open(path, "rb") as file:
            tree = json.loads(file.read(_MAX_BYTES))
        lifetime_s = {str(role): int(seconds) for role, seconds in tree["lifetime_s"].items()}
        settings = Settings(
            str(tree["dialect"]), {**LIFETIME_S, **lifetime_s}, tree["consistent_snapshot"] is True
        )
    except FileNotFoundError as exc:
        raise SettingsError(
            f"there is no repository in {folder}", hint="`swagent uptane repo init` makes one"
        ) from exc
    except OSError as exc:
        raise DeviceError(f"cannot read {path}: {exc.strerror}", path=path, errno=exc.errno) from exc
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise SettingsError(f"{path} is damaged: {exc}") from exc
    if settings.dialect not in NAMES:
        raise SettingsError(f"{path}: dialect {settings.dialect[:20]!r} is none of {', '.join(NAMES)}")
    return settings
