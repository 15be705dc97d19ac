"""Writer of one prompt's choices in a text completion, streamed or whole. It does no input or output."""

from __future__ import annotations

from antiphon_executor.interface.events import (
    FinishReason,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_server.openai_api.completions import TextChoice, TextLogprobs


class TextChoices:
    """The `AnswerWriter` of one prompt. `first`: the index of its first choice; `prompt`: what is echoed."""

    def __init__(self, first: int, choices: int, prompt: str) -> None:
        self._first = first
        self._texts = [prompt] * choices
        self._logprobs: list[list[TokenLogprob]] = [[] for _ in range(choices)]
        self._offsets: list[list[int]] = [[] for _ in range(choices)]
        self._finish: list[FinishReason] = ["stop"] * choices
        self._pieces = [TextChoice(index=first + choice, text=prompt, logprobs=None, finish_reason=None)
                        for choice in range(choices) if prompt]  # fmt: skip

    def add_text(self, delta: TextDelta) -> None:
        offset = len(self._texts[delta.choice])
        offsets = _offsets(delta.logprobs, offset)
        self._texts[delta.choice] += delta.text
        self._logprobs[delta.choice] += delta.logprobs
        self._offsets[delta.choice] += offsets
        if delta.text or delta.logprobs:
            logprobs = _write(list(delta.logprobs), offsets)
            self._add(delta.choice, delta.text, logprobs, None)

    def end_text(self, end: TextEnded) -> None:
        self._finish[end.choice] = end.finish_reason
        self._add(end.choice, "", None, end.finish_reason)

    def add_speech(self, delta: SpeechDelta) -> None:
        raise AssertionError("a text completion has no speech")

    async def end_speech(self, end: SpeechEnded) -> None:
        raise AssertionError("a text completion has no speech")

    def take_pieces(self) -> list[TextChoice]:
        """What has come since the last call, for chunks."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def whole(self) -> list[TextChoice]:
        """All choices, once their texts have ended."""
        return [
            TextChoice(
                index=self._first + choice,
                text=text,
                logprobs=_write(self._logprobs[choice], self._offsets[choice]),
                finish_reason=self._finish[choice],
            )
            for choice, text in enumerate(self._texts)
        ]

    def _add(self, choice: int, text: str, logprobs: TextLogprobs | None, end: FinishReason | None) -> None:
        piece = TextChoice(index=self._first + choice, text=text, logprobs=logprobs, finish_reason=end)
        self._pieces.append(piece)


def _offsets(logprobs: tuple[TokenLogprob, ...], offset: int) -> list[int]:
    found = []
    for one in logprobs:
        found.append(offset)
        offset += len(one.token)
    return found


def _write(logprobs: list[TokenLogprob], offsets: list[int]) -> TextLogprobs | None:
    if not logprobs:
        return None
    return TextLogprobs(
        tokens=[one.token for one in logprobs],
        token_logprobs=[one.logprob for one in logprobs],
        top_logprobs=[{top.token: top.logprob for top in one.top} for one in logprobs],
        text_offset=offsets,
    )
