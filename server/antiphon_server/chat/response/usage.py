"""What a turn has cost so far, in tokens.

In: the turn's events. Out: OpenAI's `usage`, right at any moment, also when the turn is stopped early.
Speech counts one token a frame, exactly 12.5 a second of what was sent. (DashScope bills a started second as
a whole one; we report what was made and leave rounding to whoever bills.)
"""

from __future__ import annotations

from antiphon_executor.interface.events import OmniEvent, PromptCounted, SpeechDelta, TextDelta
from antiphon_server.openai_api.response import CompletionTokensDetails, PromptTokensDetails, Usage

_NOTHING = PromptCounted(text=0, audio=0, image=0, video=0, cached=0)


class UsageMeter:
    """Counts one turn. Text of all choices counts; the prompt counts once."""

    def __init__(self) -> None:
        self._prompt = _NOTHING
        self._text_tokens = 0
        self._speech_frames = 0

    def see(self, event: OmniEvent) -> None:
        match event:
            case PromptCounted():
                self._prompt = event
            case TextDelta():
                self._text_tokens += event.tokens
            case SpeechDelta():
                self._speech_frames += event.frames

    def read(self) -> Usage:
        prompt = self._prompt
        completion = self._text_tokens + self._speech_frames
        return Usage(
            prompt_tokens=prompt.total,
            completion_tokens=completion,
            total_tokens=prompt.total + completion,
            prompt_tokens_details=PromptTokensDetails(
                cached_tokens=prompt.cached,
                text_tokens=prompt.text,
                audio_tokens=prompt.audio,
                image_tokens=prompt.image,
                video_tokens=prompt.video,
            ),
            completion_tokens_details=CompletionTokensDetails(
                text_tokens=self._text_tokens, audio_tokens=self._speech_frames, reasoning_tokens=0
            ),
        )
