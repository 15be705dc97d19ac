"""Pipecat's OpenAI services, each in a pipeline of its own: LLM, TTS and STT."""

from __future__ import annotations

import wave
from typing import Any

from harness import (
    ANSWER,
    BASE,
    KEY,
    MODEL,
    PCM,
    QUESTION,
    SENTENCE,
    SENTENCE_WAV,
    report,
    same_words,
    spoken,
)
from pipecat.frames import frames
from pipecat.pipeline.task import PipelineParams
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.tests.utils import SleepFrame, run_test

HERE: dict[str, Any] = {"base_url": BASE, "api_key": KEY}


def wav() -> tuple[bytes, int]:
    with wave.open(str(SENTENCE_WAV)) as file:
        return file.readframes(file.getnframes()), file.getframerate()


async def through(service: Any, *sent: frames.Frame, rate: int = 24_000) -> list[frames.Frame]:
    """What comes out. No error frame may."""
    parameters = PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=24_000)
    down, up = await run_test(service, frames_to_send=sent, pipeline_params=parameters)
    errors = [frame for frame in (*down, *up) if isinstance(frame, frames.ErrorFrame)]
    assert not errors, errors
    return list(down)


async def llm() -> None:
    service = OpenAILLMService(**HERE, settings=OpenAILLMService.Settings(model=MODEL))
    context = LLMContext([{"role": "user", "content": QUESTION}])
    out = await through(service, frames.LLMContextFrame(context))
    pieces = [frame.text for frame in out if isinstance(frame, frames.LLMTextFrame)]
    assert "".join(pieces) == ANSWER


async def tts() -> None:
    service = OpenAITTSService(**HERE)
    out = await through(service, frames.TTSSpeakFrame(SENTENCE), SleepFrame(8))
    sound = b"".join(frame.audio for frame in out if isinstance(frame, frames.TTSAudioRawFrame))
    spoken(sound, *PCM)


async def stt() -> None:
    pcm, rate = wav()
    sent = [frames.VADUserStartedSpeakingFrame(), SleepFrame(0.1)]
    step = rate // 50 * 2
    sent += [frames.InputAudioRawFrame(pcm[at : at + step], rate, 1) for at in range(0, len(pcm), step)]
    sent += [SleepFrame(0.5), frames.VADUserStoppedSpeakingFrame(), SleepFrame(5)]
    out = await through(OpenAISTTService(**HERE), *sent, rate=rate)
    same_words("".join(frame.text for frame in out if isinstance(frame, frames.TranscriptionFrame)))


if __name__ == "__main__":
    report("pipecat-ai", llm, tts, stt)
