"""LangChain's `ChatOpenAI`: streams, structured output, tools, the responses route, a spoken stream."""

from __future__ import annotations

from typing import Any

from harness import ANSWER, BASE, KEY, MODEL, QUESTION, SWITCH, report
from langchain_openai import ChatOpenAI

HERE: dict[str, Any] = {"model": MODEL, "base_url": BASE, "api_key": KEY, "max_retries": 0}
LAMP = {"title": "lamp", "description": "The lamp.", **SWITCH}


def streamed(model: ChatOpenAI) -> str:
    """The text of a stream, which has its usage."""
    chunks = list(model.stream(QUESTION))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.usage_metadata is not None
    assert total.usage_metadata["output_tokens"] > 2
    return str(total.text)


def chat_stream() -> None:
    assert streamed(ChatOpenAI(**HERE, stream_usage=True)) == ANSWER


def responses_stream() -> None:
    assert streamed(ChatOpenAI(**HERE, use_responses_api=True)) == ANSWER


def structured_output() -> None:
    lamp: Any = ChatOpenAI(**HERE).with_structured_output(LAMP)
    assert lamp.invoke(QUESTION)["on"] in (True, False)


def tool_call() -> None:
    answer: Any = ChatOpenAI(**HERE).bind_tools([LAMP], tool_choice="any").invoke(QUESTION)
    assert answer.tool_calls[0]["args"]["on"] in (True, False)


def spoken_stream_read_as_text() -> None:
    model = ChatOpenAI(
        **HERE,
        default_headers={"x-antiphon-dialect": "union"},
        model_kwargs={"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}},
    )
    assert "".join(str(chunk.content) for chunk in model.stream(QUESTION)) == ANSWER


if __name__ == "__main__":
    cases = [chat_stream, responses_stream, structured_output, tool_call, spoken_stream_read_as_text]
    report("langchain-openai", *cases)
