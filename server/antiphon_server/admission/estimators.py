"""Estimators of waiting times: how long requests run, and how fast the Thinker reads prompts."""

from __future__ import annotations

# Of a new observation in an exponentially weighted mean.
_WEIGHT = 0.2
_FIRST_GUESS_S = 2.0
_SHORTEST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0
# A prompt of this many tokens takes many steps, which it shares.
_LONG_TOKENS = 16_384
# The largest step of the Thinker by default.
_STEP_TOKENS = 2_048
# The time of a shorter prompt is that of one engine step, whatever its length.
_MEASURABLE_TOKENS = 256


class ServiceTime:
    """An exponentially weighted mean of the seconds between a request's start and its end."""

    def __init__(self) -> None:
        self._typical_s = _FIRST_GUESS_S

    def observe(self, seconds: float) -> None:
        """A complete answer took `seconds`."""
        self._typical_s += _WEIGHT * (seconds - self._typical_s)

    def observe_at_least(self, seconds: float) -> None:
        """An answer was aborted after `seconds`. It counts only if that is longer than usual."""
        self.observe(max(seconds, self._typical_s))

    def start_in_s(self, ahead: int, slots: int) -> float:
        """When a request starts that has `ahead` others before it, if `slots` run at once."""
        return self._typical_s * (ahead + 1) / max(slots, 1)

    def retry_after_s(self, ahead: int, slots: int) -> float:
        """The same within the bounds of a `Retry-After`."""
        return bounded_retry_s(self.start_in_s(ahead, slots))


def bounded_retry_s(seconds: float) -> float:
    """`seconds` as a `Retry-After`: at least 0.5 s, at most 60 s."""
    return min(max(seconds, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)


class PrefillBacklog:
    """`tokens` not read yet; `rate` in tokens per second, 0 until it is measured.

    The Thinker reads prompts in the order of arrival, but a long one leaves a share of each step to others.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.rate = 0.0
        self._idle_since_s = 0.0
        self._long: dict[object, int] = {}

    def change(self, prompt: object, before: int, after: int) -> None:
        """Of `prompt`, `after` tokens are not read now; `before` were."""
        self.tokens += after - before
        if after >= _LONG_TOKENS:
            self._long[prompt] = after
        else:
            self._long.pop(prompt, None)

    def tokens_before(self, tokens: int) -> int:
        """Tokens of others that are read until a prompt of `tokens` is.

        A long one gets at most as many tokens as the prompt in the steps that they share.
        """
        share = max(tokens, _STEP_TOKENS)
        return self.tokens - sum(left - min(left, share) for left in self._long.values())

    def observe(self, started_s: float, now_s: float, computed_tokens: int) -> None:
        """A prompt has been read. `computed_tokens`: those that were not in the prefix cache."""
        seconds = now_s - max(started_s, self._idle_since_s)
        if computed_tokens < _MEASURABLE_TOKENS or seconds <= 0:
            return
        self._idle_since_s = now_s
        rate = computed_tokens / seconds
        self.rate += (rate - self.rate) * (_WEIGHT if self.rate else 1.0)

    def excess_s(self, tokens: int, limit_s: float, limit_tokens: int) -> float | None:
        """Seconds until `tokens` more keep within both limits (0: no limit); 0.0 if they do now.

        A prompt that waits for no other is always within the limits. None: the rate is not measured yet.
        """
        others = self.tokens_before(tokens)
        by_time = self.rate * limit_s if limit_s and self.rate else float("inf")
        by_number = limit_tokens or float("inf")
        too_many = max(
            min(others + tokens - by_time, others), min(self.tokens + tokens - by_number, self.tokens)
        )
        if too_many <= 0:
            return 0.0
        return too_many / self.rate if self.rate else None
