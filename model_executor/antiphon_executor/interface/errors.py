"""The errors of the engine, with messages fit for a client."""

from __future__ import annotations


class OperatorError(ValueError):
    """What the operator gave cannot be served; the message names it, in one line. Raised at start alone."""


class EngineError(Exception):
    """Base of what an engine raises from `generate`. Messages are fit for a client.

    EngineError
    ├── InvalidRequest        the request cannot be served as it is (`param` names the part, `code` the kind)
    ├── EngineBusy         no room now; try again after `retry_after_s`
    ├── RequestFailed         this answer has lost a part inside the server; others go on
    └── EngineDead         a stage has died; nothing can be served
    """


class InvalidRequest(EngineError):
    def __init__(self, message: str, param: str | None = None, code: str = "invalid_turn") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class EngineBusy(EngineError):
    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestFailed(EngineError):
    """`part`: what was lost, and how, in a client's words."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the answer cannot be completed: {part}; send the request again")


class EngineDead(EngineError):
    """`retry_after_s`: when the stage may be back; None where it is not started again."""

    def __init__(self, stage: str, retry_after_s: float | None = None) -> None:
        coming = "" if retry_after_s is None else " and is being restarted"
        super().__init__(f"the {stage} engine has stopped{coming}")
        self.stage = stage
        self.retry_after_s = retry_after_s
