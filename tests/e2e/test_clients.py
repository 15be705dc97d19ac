"""Real clients against antiphon-nano: what their users see. `make conformance` runs the heavy ones too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.catalog import CLIENTS, Client, prepare, run
from tests.e2e.server_process import RunningServer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(nano_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clients")
    prepare(nano_server.url, made)
    return made


@pytest.mark.parametrize("client", [one for one in CLIENTS if one.quick], ids=lambda one: one.home.name)
def test_a_client_gets_what_its_user_expects(
    nano_server: RunningServer, folder: Path, client: Client
) -> None:
    outcome = run(client, nano_server.url, folder)
    if outcome.trouble.startswith("not installed"):
        pytest.skip(outcome.trouble)
    assert outcome.failed, outcome.trouble
    for case, trouble in outcome.failed.items():
        assert trouble is None, f"{case}: {trouble}"
