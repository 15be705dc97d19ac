"""What preparing a request costs its API key, even if the request is then refused.

A prompt that is admitted is debited in full by the controller; one that is refused costs a tenth here.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from antiphon_server.admission.rate_limiter import RateLimiter

# Reading a prompt takes about a tenth of the processor time that running it takes.
_READ_SHARE = 0.1
_TOKENS_PER_COMPILE_SECOND = 1_000


class PreparationCost:
    """A context around the preparation of one request. Its end debits tokens from `owner`'s rate limit."""

    def __init__(self, rates: RateLimiter, owner: str) -> None:
        self._rates = rates
        self._owner = owner
        self._read_tokens = 0
        self._compile_s = 0.0

    def count_read(self, tokens: int) -> None:
        """The prompt has `tokens` more tokens, or that many were read before it was refused."""
        self._read_tokens += tokens

    def count_compile(self, seconds: float) -> None:
        """Compiling a grammar took this long."""
        self._compile_s += seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tokens = self._compile_s * _TOKENS_PER_COMPILE_SECOND
        if error is not None:
            tokens += self._read_tokens * _READ_SHARE
        if tokens:
            self._rates.debit(self._owner, tokens)
