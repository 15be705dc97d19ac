"""The Thinker's requests take turns; how many tokens a step computes follows from the request's position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from antiphon_executor.scheduling.real_time import NEVER_S
from antiphon_executor.scheduling.step_plan import StepPlan


@dataclass(frozen=True, slots=True)
class Progress:
    """A request's tokens: of its prompt, and computed so far."""

    key: str
    prompt_tokens: int
    computed: int

    @property
    def reads_prompt(self) -> bool:
        return self.computed < self.prompt_tokens


class RequestTurns:
    """Chooses the request of each step: the one that has waited longest.

    One prompt is read at a time: two would share the cache of media embeddings, which can end a step early.
    A preempted request is computed again in the same steps: its prompt in chunks, then single tokens.
    """

    def __init__(self, chunk_tokens: int, most_begun: int) -> None:
        """`chunk_tokens`: of a prompt, in one step. `most_begun`: requests that vLLM may run."""
        self._chunk_tokens = chunk_tokens
        self._most_begun = most_begun
        self._last: dict[str, int] = {}
        self._steps = 0

    def next(self, requests: Iterable[Progress]) -> StepPlan:
        """The plan of the next step; nothing to run without requests."""
        present = {one.key: one for one in requests}
        self._last = {key: self._last.get(key, 0) for key in present}
        prompts = [one for one in present.values() if one.reads_prompt]
        begun = [one for one in prompts if one.computed]
        answers = [one for one in present.values() if not one.reads_prompt]
        # vLLM sees only the chosen request, so it does not count the others itself.
        has_room = len(answers) + len(begun) < self._most_begun
        able = answers + (begun or (prompts if has_room else []))
        if not able:
            return StepPlan((), 0, frozenset(), NEVER_S)
        chosen = min(able, key=lambda one: self._last[one.key])
        self._steps += 1
        self._last[chosen.key] = self._steps
        due = min(self._chunk_tokens, chosen.prompt_tokens - chosen.computed) if chosen.reads_prompt else 1
        return StepPlan((chosen.key,), due - 1, frozenset(), NEVER_S)
