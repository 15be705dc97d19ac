"""The cost of a level: per 1,000 requests and per hour of speech, from machine or token prices."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon_server.bench.measure.record import StreamRecord, Usage
from antiphon_server.bench.options import Prices

_MILLION = 1_000_000


class Cost(msgspec.Struct, frozen=True):
    """In the currency of the prices. `total` includes failed requests; the ratios count good ones only."""

    total: float
    per_1000_requests: float | None
    per_hour_of_speech: float | None


def machine_cost(prices: Prices, records: Sequence[StreamRecord], wall_s: float) -> Cost | None:
    """The price of the whole machine for `wall_s`; None without a price per hour."""
    if prices.machine_hour is None:
        return None
    return _cost_of(prices.machine_hour * wall_s / 3600, records)


def token_cost(prices: Prices, records: Sequence[StreamRecord]) -> Cost | None:
    """The price of all tokens; None without token prices or if a good answer has no token counts."""
    if not prices.has_tokens or any(record.is_good and record.usage is None for record in records):
        return None
    return _cost_of(sum(_usage_price(prices, record.usage) for record in records if record.usage), records)


def _usage_price(prices: Prices, usage: Usage) -> float:
    """Audio tokens cost as much as text tokens unless they have a price of their own."""
    text_in, text_out = prices.input_tokens or 0.0, prices.output_tokens or 0.0
    audio_in = text_in if prices.input_audio_tokens is None else prices.input_audio_tokens
    audio_out = text_out if prices.output_audio_tokens is None else prices.output_audio_tokens
    text_input_tokens = usage.input_tokens - usage.input_audio_tokens
    input_price = text_input_tokens * text_in + usage.input_audio_tokens * audio_in
    output_price = usage.text_tokens * text_out + usage.output_audio_tokens * audio_out
    return (input_price + output_price) / _MILLION


def _cost_of(total: float, records: Sequence[StreamRecord]) -> Cost:
    good = [record for record in records if record.is_good]
    speech_h = sum(record.playback.heard_s for record in good if record.playback) / 3600
    return Cost(total, total / len(good) * 1000 if good else None, total / speech_h if speech_h else None)
