"""Text without a chat template, and text of a given structure, on the real engine."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.e2e.answers import SPOKEN, said
from tests.e2e.server_process import MODEL, RunningServer, becomes

pytestmark = pytest.mark.engine

GREEDY: dict[str, Any] = {"max_tokens": 8, "temperature": 0}
ADD = {"type": "object", "properties": {"a": {"enum": [17, 23]}}, "required": ["a"]}
TOOLS: Any = [{"type": "function", "function": {"name": "add", "parameters": ADD}}]


def tokens_of(served: RunningServer, **asked: Any) -> list[int]:
    answer = httpx.post(f"{served.url}/tokenize", json=asked, timeout=30, verify=False)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["tokens"])


def test_the_tokens_of_a_conversation_are_continued_as_chat_answers_it(
    served: RunningServer, client: openai.OpenAI
) -> None:
    chat = client.chat.completions.create(model=MODEL, messages=said("Why?"), **GREEDY)  # type: ignore[arg-type]
    tokens = tokens_of(served, messages=said("Why?"))
    whole = client.completions.create(model=MODEL, prompt=[tokens, tokens], **GREEDY)
    assert [choice.text for choice in whole.choices] == [chat.choices[0].message.content] * 2
    pieces = client.completions.create(model=MODEL, prompt=tokens, stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in pieces) == whole.choices[0].text
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 2 * len(tokens)


def test_an_answer_is_one_of_the_choices(client: openai.OpenAI) -> None:
    answers = {
        client.chat.completions.create(
            model=MODEL,
            messages=said("Yes?"),  # type: ignore[arg-type]
            max_tokens=20,
            extra_body={"guided_choice": ["certainly", "by no means"]},
        )
        .choices[0]
        .message.content
        for _ in range(4)
    }
    assert answers <= {"certainly", "by no means"}


def test_the_arguments_of_a_required_call_are_streamed(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(
        model=MODEL,
        messages=said("Add."),  # type: ignore[arg-type]
        tools=TOOLS,
        tool_choice="required",
        max_tokens=200,
        stream=True,
    )
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function is not None
    assert calls[0].function.name == "add"
    arguments = [call.function.arguments or "" for call in calls if call.function]
    assert len(arguments) > 2
    assert "".join(arguments) in ('{"a": 17}', '{"a": 23}')


def test_a_message_of_the_assistant_is_continued(served: RunningServer, client: openai.OpenAI) -> None:
    messages: Any = [*said("Count."), {"role": "assistant", "content": "One, two"}]
    body = {"continue_final_message": True, "add_generation_prompt": False}
    answer = client.chat.completions.create(model=MODEL, messages=messages, extra_body=body, **GREEDY)
    prompt = tokens_of(served, messages=said("Count.")) + tokens_of(served, prompt="One, two")
    continued = client.completions.create(model=MODEL, prompt=prompt, **GREEDY)
    assert answer.choices[0].message.content == continued.choices[0].text
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt)


def test_a_tool_call_is_not_spoken(served: RunningServer, client: openai.OpenAI) -> None:
    """The model is made to open a call at once. A call that is cut off is text, and not spoken either."""
    [opening] = tokens_of(served, prompt="<tool_call>")
    answer = client.chat.completions.create(
        model=MODEL,
        messages=said("Add."),  # type: ignore[arg-type]
        tools=TOOLS,
        max_tokens=4,
        logit_bias={str(opening): 100},
        **SPOKEN,
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.audio_tokens == 0
    assert becomes(served.is_idle, 10)
