"""The checkpoint's chat template, rendered in Jinja's sandbox with the settings that transformers uses.

Templates come from the checkpoint, never from a request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from antiphon_server.errors import BadRequest

THINK_OPENING = "<think>"
THINK_CLOSING = "</think>"
CALL_OPENING = "<tool_call>"

ThinkingSwitch = Literal["none", "possible", "optional", "always"]
"""Whether a model thinks before it answers: `optional` if a request can switch it."""

_FILES = ("chat_template.jinja", "chat_template.json", "processor_config.json", "tokenizer_config.json")


class ChatTemplate:
    """A chat template.

    `takes_tools`, `takes_thinking`: whether it reads the variables `tools` and `enable_thinking`. `thinks`:
    whether it knows `<think>`.
    """

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _GenerationBlocks]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _strftime_now
        self._template = environment.from_string(source)
        self._special_tokens = special_tokens
        variables = jinja2.meta.find_undeclared_variables(environment.parse(source))
        self.takes_tools = "tools" in variables
        self.takes_thinking = "enable_thinking" in variables
        self.thinks = THINK_OPENING in source
        self._opens_thinking: dict[bool | None, bool] = {}

    @classmethod
    def from_folder(cls, folder: Path) -> ChatTemplate:
        """Raises FileNotFoundError if no file of the checkpoint contains a template."""
        for name in _FILES:
            source = _read_source(folder / name)
            if source is not None:
                return cls(source, _read_special_tokens(folder / "tokenizer_config.json"))
        raise FileNotFoundError(f"the checkpoint has no chat template in any of {', '.join(_FILES)}")

    @property
    def thinking_switch(self) -> ThinkingSwitch:
        if self.takes_thinking:
            return "optional"
        if not self.thinks:
            return "none"
        return "always" if self.opens_thinking(None) else "possible"

    def opens_thinking(self, thinking: bool | None) -> bool:
        """Whether prompts end in `<think>`, so that the answer begins with reasoning."""
        if thinking not in self._opens_thinking:
            self._opens_thinking[thinking] = self._ends_in_think(thinking)
        return self._opens_thinking[thinking]

    def _ends_in_think(self, thinking: bool | None) -> bool:
        try:
            prompt = self.render([{"role": "user", "content": "."}], [], thinking)
        except BadRequest:
            return False
        return prompt.rstrip().endswith(THINK_OPENING)

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        thinking: bool | None = None,
    ) -> str:
        """The prompt up to the assistant's turn. Raises BadRequest if the template raises an error.

        `thinking`: the variable `enable_thinking`; None leaves it undefined.
        """
        return self._render(messages, tools, thinking, add_generation_prompt=True)

    def render_open(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        thinking: bool | None = None,
        *,
        end: str,
    ) -> str:
        """The prompt up to the end of the last message's text, which the answer continues. As `render`.

        `end`: a character that no message contains. It marks the end in the rendering, where the text alone
        could be found in what follows it too.
        """
        *before, last = messages
        text = last["content"].rstrip()
        space = last["content"][len(text) :]
        marked = {**last, "content": text + end + space}
        rendered = self._render([*before, marked], tools, thinking, add_generation_prompt=False)
        kept, found, rest = rendered.rpartition(end)
        if not found or not text:
            raise BadRequest(
                "The model's chat template changes the last message, which cannot be continued.",
                param=f"messages[{len(messages) - 1}]",
            )
        # A template may strip the white space at the end.
        return kept.replace(end, "") + (space if rest.startswith(space) else "")

    def _render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        thinking: bool | None,
        *,
        add_generation_prompt: bool,
    ) -> str:
        switch = {} if thinking is None else {"enable_thinking": thinking}
        try:
            return self._template.render(
                messages=list(messages),
                tools=list(tools) or None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **switch,
                **self._special_tokens,
            )
        except jinja2.TemplateError:
            raise BadRequest(
                "The model's chat template does not accept these messages.",
                param="messages",
                hint="Check the order of the roles: system first, then user and assistant in turn.",
            ) from None


class _GenerationBlocks(jinja2.ext.Extension):
    """Renders the body of `{% generation %}`, which marks the assistant's text for training only."""

    tags = {"generation"}  # noqa: RUF012  # the base class declares it so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _read_source(path: Path) -> str | None:
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jinja":
        return text
    source = json.loads(text).get("chat_template")
    if isinstance(source, list):
        source = {entry["name"]: entry["template"] for entry in source}
    if isinstance(source, dict):
        source = source.get("default")
    return source if isinstance(source, str) else None


def _read_special_tokens(path: Path) -> dict[str, str]:
    """Special tokens such as `bos_token` as text, because some templates print them."""
    if not path.is_file():
        return {}
    found = {}
    for name, value in json.loads(path.read_text(encoding="utf-8")).items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)  # noqa: TID251 - the date in a prompt
