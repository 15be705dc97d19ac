"""Flags and settings in messages: each exists under the name that `--help` shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from antiphon_server.config.flags import add_settings, setting_fields
from antiphon_server.config.parser import FlagParser
from antiphon_server.media import policy
from tests.project.sources import Source, product

# One that ends with a hyphen is a part of a name, put together elsewhere.
FLAG = re.compile(r"(?<![\w-])--[a-z](?:[\w.-]*\w)?(?![\w-])")
SETTING = re.compile(r"(?<![\w./-])(?:server|chat|media|engine|logs)(?:\.[a-z_]+)+")
# OpenAI's names of objects, which look like settings.
OBJECTS = {"chat.completion", "chat.completion.chunk"}
# Flags of other programs, by the file that runs or names them.
OTHERS = {
    "checks.py": {"--shm-size"},
    "machine.py": {"--query-gpu", "--format"},
    "player.py": {"--raw", "--format", "--rate", "--channels"},
}


def messages(source: Source) -> Iterator[tuple[int, str]]:
    """Every string that is no docstring, with its line; of one with values in it, the fixed parts."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(source.tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@cache
def setting_flags() -> dict[str, str]:
    """Each flag of `antiphon serve`, and the flag that `--help` names first for the same setting."""
    parser = FlagParser("antiphon serve", "")
    add_settings(parser)
    first: dict[str, str] = {}
    flags = {"--help": "--help"}
    for action in (action for action in parser._actions if action.dest == "settings"):
        for name in action.const:
            first.setdefault(name, action.option_strings[0])
        flags |= dict.fromkeys(action.option_strings, first[action.const[0]])
    return flags


@cache
def declared_flags() -> set[str]:
    """Flags that other commands declare: strings that are a flag and nothing else."""
    texts = {text for source in product() for _, text in messages(source)}
    return {text for text in texts if FLAG.fullmatch(text)} - setting_flags().keys()


def misnamed(source: Source) -> Iterator[str]:
    settings = {leaf.name for leaf in setting_fields()}
    foreign = next((flags for name, flags in OTHERS.items() if source.name.endswith(name)), set())
    for line, text in messages(source):
        for flag in set(FLAG.findall(text)) - foreign - declared_flags():
            best = setting_flags().get(flag, "no flag")
            if flag not in (best, f"--no-{best[2:]}"):
                yield f"{source.name}:{line}: {flag}, which is {best}"
        for name in set(SETTING.findall(text)) - OBJECTS:
            # A message may begin with the setting that is wrong, as those of the configuration do.
            if name not in settings or not text.startswith(name):
                yield f"{source.name}:{line}: {name}, which is no flag"


def test_every_flag_and_setting_that_a_message_names_exists_under_that_name() -> None:
    wrong = [line for source in product("server") + product("executor") for line in misnamed(source)]
    assert not wrong, "\n".join(["", *wrong])


def test_every_limit_on_media_is_named_by_its_flag() -> None:
    for field in policy.MediaPolicy.model_fields:
        assert setting_flags()[policy.flag(field)] == policy.flag(field)
