"""The stages of the server's life (loading, serving, draining, closed, failed), and what each one refuses."""

from __future__ import annotations

from typing import Literal

from antiphon_server.errors import ApiError, Unavailable

Stage = Literal["loading", "serving", "draining", "closed", "failed"]

_RETRY_S = 10.0


class Lifecycle:
    """The server's stage. Only `serve` and its lifecycle tasks change it."""

    def __init__(self, stage: Stage = "serving") -> None:
        self.stage = stage
        self._dead: tuple[str, ...] = ()

    def closed_because(self) -> list[str]:
        """Why the server accepts no traffic now; empty if it does."""
        match self.stage:
            case "loading":
                return ["the model is loading"]
            case "draining" | "closed":
                return ["the server is shutting down"]
            case "failed":
                return [f"the {stage} engine has stopped" for stage in self._dead]
            case _:
                return []

    def refusal(self) -> ApiError | None:
        """Why new work is refused, or None. A draining server accepts work until its grace period ends."""
        match self.stage:
            case "loading":
                return Unavailable("the model is loading", code="loading", retry_after_s=_RETRY_S)
            case "closed":
                return Unavailable(
                    "the server is shutting down", code="shutting_down", retry_after_s=_RETRY_S
                )
            case "failed":
                message = f"the {' and '.join(self._dead)} engine has stopped"
                return Unavailable(message, code="engine_dead", retry_after_s=_RETRY_S)
            case _:
                return None

    def fail(self, dead: tuple[str, ...]) -> None:
        self.stage = "failed"
        self._dead = dead
