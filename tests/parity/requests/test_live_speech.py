"""Speech that was read while it was spoken is answered as the same audio sent whole, by both families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from antiphon_executor.engine.omni_engine import VllmOmniEngine
from antiphon_executor.interface.events import PromptCounted, SpeechDelta, TextDelta
from antiphon_executor.interface.media import AudioClip, KnownClip, Media, StoredClip
from antiphon_executor.interface.request import OmniRequest, SpeechSampling, TextSampling
from tests.parity.requests.aria_requests import AriaRequests

pytestmark = pytest.mark.engine

PROMPT = "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n<|im_start|>assistant\n"
RATE_HZ = 16_000


@dataclass
class Answer:
    """`wave`: int16 [samples]"""

    text: str
    counted: PromptCounted
    wave: np.ndarray


def speech(seconds: float) -> np.ndarray:
    """Noise that comes and goes, loudest in its first seconds."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(11).standard_normal(len(time))
    loudness = 0.05 * (1 + np.sin(3 * time)) + 0.3 * (np.abs(time - 2) < 0.2)
    return (noise * loudness).astype(np.float32)


async def answer(
    engine: VllmOmniEngine,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    clip: AudioClip | StoredClip | KnownClip,
    tokens: int = 16,
    speech: SpeechSampling | None = None,
) -> Answer:
    text = TextSampling(max_tokens=tokens, temperature=0)
    request = OmniRequest(name, tuple(tokenizer.encode(PROMPT)), Media(audios=(clip,)), text, speech)
    events = [event async for event in engine.generate(request)]
    (counted,) = (event for event in events if isinstance(event, PromptCounted))
    pcm = b"".join(event.pcm for event in events if isinstance(event, SpeechDelta))
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    return Answer(said, counted, np.frombuffer(pcm, np.int16))


async def is_answered_as_the_whole(
    engine: VllmOmniEngine,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    seconds: float,
    voice: SpeechSampling | None = None,
) -> Answer:
    samples = speech(seconds)
    whole = await answer(engine, tokenizer, f"{name}-whole", AudioClip(samples), speech=voice)
    writer, read = engine.clip_writer(8), 0
    for start in range(0, len(samples), RATE_HZ):
        writer.write(samples[start : start + RATE_HZ])
        windows = writer.windows_so_far(name)
        if windows is not None and windows.num_samples > read:
            read = windows.num_samples
            await answer(engine, tokenizer, f"{name}-{read}", windows, tokens=1)
    live = writer.clip_so_far(name)
    spoken = await answer(engine, tokenizer, f"{name}-live", live, speech=voice)
    assert spoken.text == whole.text
    # Of 65,536 steps: the encoder has rounded in other batches.
    np.testing.assert_allclose(spoken.wave, whole.wave, rtol=0, atol=8)
    assert spoken.counted.audio == whole.counted.audio
    known = KnownClip(live.key or "", len(samples), lambda: live, 8)
    again = await answer(engine, tokenizer, f"{name}-again", known)
    assert again.text == whole.text
    return spoken


@pytest.mark.parametrize("seconds", [11.3, 26.0])
async def test_qwen3_omni(engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase, seconds: float) -> None:
    voice = SpeechSampling("ethan", temperature=0, max_frames=20)
    spoken = await is_answered_as_the_whole(engine, tokenizer, f"speech-{seconds}", seconds, voice)
    assert len(spoken.wave) > 10_000
    # Of blocks of 128 tokens, 13 a second.
    assert spoken.counted.cached >= (seconds > 20) * 256


async def test_qwen3_5_omni(aria_requests: AriaRequests) -> None:
    await is_answered_as_the_whole(aria_requests.engine, aria_requests._tokenizer, "speech", 26.0)
