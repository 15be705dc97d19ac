"""What preparing a request costs its key, whether or not the request is then admitted.

In: tokens read, media included; seconds of compiling. Out: a debit of the key's tokens a minute. A prompt
that is admitted is debited whole by `admission.py`, one that is refused later by a tenth here.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from antiphon_server.admission.key_rates import KeyRates

# Reading a prompt takes about a tenth of the processor's time that running it takes.
_READ_SHARE = 0.1
_TOKENS_PER_COMPILE_SECOND = 1_000


class PreparationCost:
    """Around the preparation of one request: the end of the block debits what it took."""

    def __init__(self, rates: KeyRates, owner: str) -> None:
        self._rates = rates
        self._owner = owner
        self._read_tokens = 0
        self._compile_s = 0.0

    def read(self, tokens: int) -> None:
        """The prompt has `tokens` tokens, or that many were read before it was refused."""
        self._read_tokens += tokens

    def compiled(self, seconds: float) -> None:
        """A grammar took this long to compile."""
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
            self._rates.take(self._owner, tokens)
