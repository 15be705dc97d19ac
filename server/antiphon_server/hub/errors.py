"""The hub's errors as one line and a hint each."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from antiphon_server.exits import ExitCode, StartupError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FOLDER = "or download the model elsewhere and give its folder"


def hub_error(name: str, revision: str | None, error: Exception) -> StartupError:
    """`error`: what huggingface_hub raised for this model."""
    from huggingface_hub import constants

    causes = tuple(_causes(error))
    refusal = next((found for cause in causes if (found := _refusal(name, revision, cause))), None)
    if refusal is not None:
        return refusal
    # The weights are downloaded by the commit, whatever the operator has asked for.
    asked = revision is not None and not _COMMIT.fullmatch(revision)
    wanted = f"{name} of the revision {revision!r}" if asked else name
    incomplete = f"there is no folder {name}, and no complete model {wanted} in {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        return _no_model(f"{incomplete}: HF_HUB_OFFLINE is set", f"unset HF_HUB_OFFLINE, {_FOLDER}")
    if any(_is_network(cause) for cause in causes):
        hint = f"check the network and HTTPS_PROXY, {_FOLDER}"
        return _no_model(f"{incomplete}: {constants.ENDPOINT} is not reachable", hint)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _no_model(f"{name} cannot be downloaded: {first}", f"try again, {_FOLDER}")


def _refusal(name: str, revision: str | None, cause: BaseException) -> StartupError | None:
    """What the hub answered, or the disk. None for an error that says neither."""
    from huggingface_hub import constants, errors

    message, hint, code = "", "", ExitCode.NO_MODEL
    match cause:
        case errors.GatedRepoError():
            message = f"{name} is gated: its makers ask for an account and the consent to their terms"
            hint = f"accept them at {constants.ENDPOINT}/{name}, then set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            message = f"there is no folder {name}, and no public model of this name at {constants.ENDPOINT}"
            hint = "check the spelling; a private model needs HF_TOKEN"
        case errors.RevisionNotFoundError():
            message, hint = f"{name} has no revision {revision!r}", "check --revision"
        case errors.HfHubHTTPError():
            message = f"{constants.ENDPOINT} answered {cause.response.status_code} for {name}"
            hint = f"try again later, {_FOLDER}"
        case OSError(errno=errno.ENOSPC):
            message = f"the disk of {constants.HF_HUB_CACHE} is full; {name} is not complete"
            hint = "free some space, or set HF_HUB_CACHE to another disk; complete files are kept"
            code = ExitCode.NO_SPACE
    return StartupError(code, message, hint) if message else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_network(cause: BaseException) -> bool:
    # huggingface_hub has had two HTTP clients, and the name of this class is the same in both.
    names = {kind.__name__ for kind in type(cause).__mro__}
    return isinstance(cause, ConnectionError | TimeoutError) or "TransportError" in names


def _no_model(message: str, hint: str) -> StartupError:
    return StartupError(ExitCode.NO_MODEL, message, hint)
