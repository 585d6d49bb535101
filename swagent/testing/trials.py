"""A fixture of pytest for trial updates of a real board: name this module in ``pytest_plugins``.

``lab_trial`` gives the board of the options ``--lab-device`` and ``--lab-plan``; without them its tests are skipped,
with that reason.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from swagent.lab.trial import Step, Trial

_OPTIONS = {
    "--lab-device": "the board that trial updates use",
    "--lab-plan": "YAML file: how that board is used",
    "--lab-instance": "its server, by its name in the list of servers; default: the first one",
    "--lab-server": "its server, by its address",
    "--lab-token-file": "a token, for --lab-server",
    "--lab-ca": "authorities to believe instead of the system's, for --lab-server",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that say which board."""
    group = parser.getgroup("lab", "boards of a lab")
    for name, text in _OPTIONS.items():
        group.addoption(name, help=text, default=None)


@pytest.fixture
def lab_trial(request: pytest.FixtureRequest) -> "Iterator[Trial]":
    """A board: ``lab_trial.run("update.swu")`` gives a ``swagent.lab.trial.Report``.

    What the board said is shown with a test that fails.
    """
    from swagent.lab.plan import read_plan
    from swagent.lab.servers import Where, default_path, reach
    from swagent.lab.talk import readable
    from swagent.lab.trial import Trial

    def option(name: str) -> Any:
        return request.config.getoption(name)

    device, plan = option("--lab-device"), option("--lab-plan")
    if not device or not plan:
        pytest.skip("no board: --lab-device and --lab-plan say which")
    said = bytearray()

    def told(name: str, step: "Step | None") -> None:
        if step is not None:
            request.node.add_report_section("call", f"board, {name}", readable(bytes(said)))
            said.clear()

    where = Where(
        default_path(os.environ),
        *(option(f"--lab-{name}") for name in ("instance", "server", "token-file", "ca")),
    )
    with reach(where) as client:
        yield Trial(client, device, read_plan(plan), told=told, log=said.extend)
