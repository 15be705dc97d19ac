"""Short streams share a few slots, and none shows another's voice, codes or text.

150 of each family here; `make canaries` asks 10,000, and then the engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import pytest
import torch

from antiphon_executor.models.aria.streams import AriaStreams
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.talker.prompt_embeddings import PromptEmbeddings
from antiphon_executor.models.talker.slots import SlotPool
from tests.talker.canaries import COUNT, Song, Weights, Worker, canary, different, shuffled

# `make canaries` raises the count.
pytestmark = [pytest.mark.promise("R21"), pytest.mark.timeout(300 + COUNT // 5)]

SLOTS, FEWER_SLOTS, ALONE = 16, 11, 100
FAMILIES = {"text beside the frames": False, "text between the frames": True}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These sizes are too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def weights() -> Weights:
    return Weights()


def strangers(heard: dict[int, Song], own: dict[int, Song]) -> list[int]:
    return [number for number, song in own.items() if different(heard[number], song)]


@cache
def alone(count: int, aria: bool) -> dict[int, Song]:
    """Each in a worker without other streams."""
    worker = Worker(weights(), 1, aria=aria)
    return worker.sing([one for one in map(canary, range(count)) if one.leaves_after is None])


@pytest.mark.parametrize("family", FAMILIES)
def test_given_many_short_streams_over_a_few_slots_then_each_is_as_if_it_were_alone(family: str) -> None:
    """Some streams run alone; all run twice beside others, in different slots each time."""
    aria, flock = FAMILIES[family], [canary(number) for number in range(COUNT)]
    own = alone(ALONE, aria)
    said = [b"".join(song.codes) for song in own.values() if song.codes]
    assert len(set(said)) > 0.95 * len(said) > 0.7 * len(own)
    first = Worker(weights(), SLOTS, aria=aria).sing(shuffled(flock, 1))
    second = Worker(weights(), FEWER_SLOTS, aria=aria).sing(shuffled(flock, 2))
    assert len(first) > 0.9 * COUNT
    assert strangers(first, own) == []
    assert strangers(second, first) == []


Patch = pytest.MonkeyPatch


def keep_in_pool(patch: Patch, name: str) -> None:
    zero = SlotPool._zero

    def keeps(pool: SlotPool, slot: int) -> None:
        tensor: torch.Tensor = getattr(pool, name)
        before = tensor[slot].clone()
        zero(pool, slot)
        tensor[slot] = before

    patch.setattr(SlotPool, "_zero", keeps)


def keep_vocoder(patch: Patch) -> None:
    patch.setattr(StreamingCode2Wav, "reset", lambda vocoder, slots: None)


def keep_given_rows(patch: Patch) -> None:
    """Its pages are free, and it can still read them."""

    def release(embeddings: PromptEmbeddings, slot: int) -> None:
        embeddings._free.extend(embeddings._owned.pop(slot, []))

    patch.setattr(PromptEmbeddings, "release", release)


def keep_text(patch: Patch) -> None:
    opens, closes = DualTrackStreams.open, DualTrackStreams.close

    def close(streams: DualTrackStreams, slot: int) -> None:
        before = streams.track[slot].clone()
        closes(streams, slot)
        streams.track[slot] = before

    def open_(streams: DualTrackStreams, packed: bytes) -> None:
        before = streams.track.clone()
        opens(streams, packed)
        for slot, host in streams._host.items():
            streams.track[slot, host.text_len :] = before[slot, host.text_len :]

    patch.setattr(DualTrackStreams, "close", close)
    patch.setattr(DualTrackStreams, "open", open_)


def keep_length(patch: Patch) -> None:
    opens, closes = AriaStreams.open, AriaStreams.close

    def close(streams: AriaStreams, slot: int) -> None:
        before = streams.total.clone()
        closes(streams, slot)
        streams.total.copy_(before)

    def open_(streams: AriaStreams, packed: bytes) -> None:
        before = streams.total.clone()
        opens(streams, packed)
        streams.total.copy_(before)

    patch.setattr(AriaStreams, "close", close)
    patch.setattr(AriaStreams, "open", open_)


LEAKS: dict[str, Callable[[Patch], None]] = {
    "how many frames it has": partial(keep_in_pool, name="frames"),
    "the codes it has said": partial(keep_in_pool, name="seen"),
    "that it has ended": partial(keep_in_pool, name="ended"),
    "its vocoder's state": keep_vocoder,
    "its media rows": keep_given_rows,
}
CASES = {f"{name}, {family}": (LEAKS[name], FAMILIES[family]) for name in LEAKS for family in FAMILIES}
CASES |= {"its text": (keep_text, False), "its text's length": (keep_length, True)}
# There every chunk of text begins a window of its own, the first one too: nothing reads what is left.
del CASES["the codes it has said, text between the frames"]


@pytest.mark.parametrize(("leak", "aria"), CASES.values(), ids=CASES)
def test_given_a_slot_that_keeps_a_part_of_the_stream_before_then_the_canaries_tell(
    monkeypatch: Patch, leak: Callable[[Patch], None], aria: bool
) -> None:
    """Else they would prove nothing."""
    own = alone(ALONE, aria)
    leak(monkeypatch)
    flock = [one for one in map(canary, range(100)) if one.leaves_after is None]
    try:
        heard = Worker(weights(), FEWER_SLOTS, aria=aria).sing(flock)
    except AssertionError:
        return
    assert strangers({**own, **heard}, own) != []
