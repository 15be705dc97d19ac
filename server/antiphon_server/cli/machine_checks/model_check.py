"""The check of a model in `antiphon doctor`: its files, or what is missing of them. Downloads no weights."""

from __future__ import annotations

from pathlib import Path

from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.cli.machine_checks.finding import Finding
from antiphon_server.exits import StartupError
from antiphon_server.hub.download import check_space, open_snapshot
from antiphon_server.hub.model_name import hub_name
from antiphon_server.process.checkpoint_kind import CheckpointKind
from antiphon_server.process.preflight import check_checkpoint, check_model

_GB = 1_000_000_000


def find_model(given: str, revision: str | None) -> Finding:
    """`given`: a folder, or a name on the hub, of which the small files are downloaded."""
    model = EngineSettings.model_validate({"model": given}).model
    try:
        return Finding("model", "ok", _describe(model, revision))
    except StartupError as error:
        return Finding("model", "problem", str(error.args[0]), error.hint or "")


def _describe(model: Path, revision: str | None) -> str:
    name = hub_name(model)
    if name is None:
        check_checkpoint(model, speaks=True)
        return f"{model} is complete: {_kind(model)}"
    snapshot = open_snapshot(name, revision)
    kind = _kind(snapshot.folder)
    if snapshot.missing:
        check_space(snapshot)
        return f"{name}: {snapshot.missing_bytes / _GB:.1f} GB to download: {kind}"
    check_checkpoint(snapshot.folder, speaks=True)
    return f"{name} is complete in {snapshot.folder}: {kind}"


def _kind(folder: Path) -> str:
    return CheckpointKind.of(check_model(folder)).description
