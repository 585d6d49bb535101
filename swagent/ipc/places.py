"""Where SWUpdate's sockets are: the rules that its daemon and its clients follow, each in its own environment."""

import os
from collections.abc import Mapping

CONTROL, PROGRESS = "sockinstctrl", "swupdateprog"
PROGRESS_2022, EVENTS = "swupdateprog.2022", "swagent-events"
RUN_FOLDER = "/run/swupdate"


def socket_path(name: str, environ: Mapping[str, str]) -> str:
    """The path of a socket (runtime interfaces §2.1).

    Args:
        name: ``CONTROL``, ``PROGRESS`` or one of ours.
        environ: ``RUNTIME_DIRECTORY`` and ``TMPDIR`` count, in this order.
    """
    folder = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # systemd lists several with colons
    folder = folder or environ.get("TMPDIR", "")
    if not folder:
        folder = RUN_FOLDER if os.access(RUN_FOLDER, os.W_OK) else "/tmp"  # noqa: S108 - SWUpdate's rule
    return os.path.join(folder, name)
