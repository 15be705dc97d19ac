"""The usage of one request so far, in tokens."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon_executor.interface.events import PromptCounted
from antiphon_server.openai_api.response import CompletionTokensDetails, PromptTokensDetails, Usage

_NOTHING = PromptCounted(text=0, audio=0, image=0, video=0, cached=0)


class UsageMeter:
    """Counts one request: the prompt once, the text of all choices, and one token for each frame of speech.

    A second of speech is exactly 12.5 frames. DashScope bills a started second as a whole one; rounding is
    left to the biller.
    """

    def __init__(self) -> None:
        self._prompt = _NOTHING
        self._text_tokens = 0
        self._reasoning_tokens = 0
        self._speech_frames = 0

    def count_prompt(self, prompt: PromptCounted) -> None:
        self._prompt = prompt

    def count_text(self, tokens: int) -> None:
        self._text_tokens += tokens

    def count_reasoning(self, tokens: int) -> None:
        """`tokens`: of the text that is counted already."""
        self._reasoning_tokens += tokens

    def count_speech(self, frames: int) -> None:
        self._speech_frames += frames

    @property
    def completion_tokens(self) -> int:
        return self._text_tokens + self._speech_frames

    def usage(self) -> Usage:
        """OpenAI's `usage`. It is right at any moment, also if the request is aborted."""
        prompt = self._prompt
        completion = self.completion_tokens
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
                text_tokens=self._text_tokens,
                audio_tokens=self._speech_frames,
                reasoning_tokens=self._reasoning_tokens,
            ),
        )


def sum_of(usages: Sequence[Usage]) -> Usage:
    """The usage of several requests that one response answers."""
    prompts = [usage.prompt_tokens_details for usage in usages]
    answers = [usage.completion_tokens_details for usage in usages]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        total_tokens=sum(usage.total_tokens for usage in usages),
        prompt_tokens_details=PromptTokensDetails(
            **{name: sum(getattr(one, name) for one in prompts) for name in PromptTokensDetails.model_fields}
        ),
        completion_tokens_details=CompletionTokensDetails(
            **{
                name: sum(getattr(one, name) for one in answers)
                for name in CompletionTokensDetails.model_fields
            }
        ),
    )
