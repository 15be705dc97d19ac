"""What was measured, in money.

In: prices and what a level did. Out: cost a request and an hour of speech; None where it cannot be known.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon_server.bench.measure.record import StreamRecord, Usage
from antiphon_server.bench.options import Prices

_TOKENS = 1_000_000


class Cost(msgspec.Struct, frozen=True):
    """In the currency of the prices. Failed requests cost too, and are not divided by."""

    total: float
    per_1000_requests: float | None
    per_hour_of_speech: float | None


def by_machine(prices: Prices, records: Sequence[StreamRecord], wall_s: float) -> Cost | None:
    """The machine for as long as the level took, all of it."""
    if prices.machine_hour is None:
        return None
    return _shared(prices.machine_hour * wall_s / 3600, records)


def by_tokens(prices: Prices, records: Sequence[StreamRecord]) -> Cost | None:
    """None where a good answer came without a count of its tokens."""
    if not prices.has_tokens or any(record.is_good and record.usage is None for record in records):
        return None
    return _shared(sum(_price(prices, record.usage) for record in records if record.usage), records)


def _price(prices: Prices, usage: Usage) -> float:
    """Audio tokens have the price of the others where they have none of their own."""
    text_in, text_out = prices.input_tokens or 0.0, prices.output_tokens or 0.0
    audio_in = text_in if prices.input_audio_tokens is None else prices.input_audio_tokens
    audio_out = text_out if prices.output_audio_tokens is None else prices.output_audio_tokens
    asked = (usage.input_tokens - usage.input_audio_tokens) * text_in + usage.input_audio_tokens * audio_in
    given = usage.text_tokens * text_out + usage.output_audio_tokens * audio_out
    return (asked + given) / _TOKENS


def _shared(total: float, records: Sequence[StreamRecord]) -> Cost:
    good = [record for record in records if record.is_good]
    speech_h = sum(record.playback.heard_s for record in good if record.playback) / 3600
    return Cost(total, total / len(good) * 1000 if good else None, total / speech_h if speech_h else None)
