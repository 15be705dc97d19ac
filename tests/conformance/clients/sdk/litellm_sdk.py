"""The `litellm` package as a library, with the provider `openai/`."""

from __future__ import annotations

import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from harness import (
    ANSWER,
    BASE,
    KEY,
    MESSAGES,
    MODEL,
    QUESTION,
    SENTENCE,
    SENTENCE_WAV,
    TOOL,
    report,
    same_words,
    spoken,
    switched,
)

HERE: dict[str, Any] = {"api_base": BASE, "api_key": KEY, "num_retries": 0}
SERVED = f"openai/{MODEL}"


def chat_stream() -> None:
    stream = litellm.completion(
        SERVED, MESSAGES, stream=True, stream_options={"include_usage": True}, reasoning_effort="low",
        allowed_openai_params=["reasoning_effort"], **HERE
    )  # fmt: skip
    answer: Any = litellm.stream_chunk_builder(list(stream))
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage.completion_tokens > 2


def tool_call() -> None:
    answer: Any = litellm.completion(SERVED, MESSAGES, tools=[TOOL], tool_choice="required", **HERE)
    switched(answer.choices[0].message.tool_calls[0].function.arguments)


def speech() -> None:
    spoken(litellm.speech("openai/tts-1", input=SENTENCE, voice="alloy", **HERE).content)


def transcript() -> None:
    with SENTENCE_WAV.open("rb") as file:
        same_words(litellm.transcription("openai/whisper-1", file, **HERE).text)


def responses() -> None:
    answer: Any = litellm.responses(QUESTION, SERVED, **HERE)
    assert answer.output[-1].content[0].text == ANSWER


def text_completion() -> None:
    answer: Any = litellm.text_completion(
        prompt=QUESTION, model=f"text-completion-openai/{MODEL}", max_tokens=4, **HERE
    )
    assert 1 <= answer.usage.completion_tokens <= 4


if __name__ == "__main__":
    report("litellm", chat_stream, tool_call, speech, transcript, responses, text_completion)
