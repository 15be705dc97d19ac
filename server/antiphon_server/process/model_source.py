"""Turns a model's name into a folder, before the other checks."""

from __future__ import annotations

import sys

from antiphon_server.config.settings import Settings
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.hub.download import complete, open_snapshot
from antiphon_server.hub.model_name import hub_name
from antiphon_server.hub.progress import DownloadProgress
from antiphon_server.process.preflight import check_model


def with_local_model(settings: Settings) -> Settings:
    """The settings with the model's folder in place of its name, downloaded if needed. Raises `StartupError`.

    The model keeps its name in the API. An unsupported model is refused before its weights are downloaded.
    """
    engine = settings.engine
    name = hub_name(engine.model)
    if name is None:
        if engine.revision is not None:
            hint = "give the model by its name on the hub, or leave the revision out"
            raise StartupError(ExitCode.BAD_CONFIG, "engine.revision: a folder has no revisions", hint)
        return settings
    snapshot = open_snapshot(name, engine.revision)
    check_model(snapshot.folder)
    folder = complete(snapshot, DownloadProgress(sys.stderr))
    local = {"model": folder, "served_model_name": engine.served_model_name or name}
    return settings.model_copy(update={"engine": engine.model_copy(update=local)})
