"""`antiphon completion`: scripts for three shells; bash runs its own."""

from __future__ import annotations

import subprocess

import pytest

from antiphon_server.cli.completion import SHELLS, completion_script
from antiphon_server.cli.main import COMMANDS


def offered(*words: str) -> set[str]:
    """What bash offers for the last word of a command line."""
    line = " ".join(repr(word) for word in words)
    script = f"""{completion_script("bash")}
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
_shtab_antiphon; printf "%s\\n" "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_setting_is_in_the_script(shell: str) -> None:
    script = completion_script(shell)
    for word in (*COMMANDS, "--port", "--server.limits.queued-turns", "--gpu-memory", "--concurrency"):
        assert word.lstrip("-") in script


def test_bash_offers_commands_flags_and_choices() -> None:
    assert offered("antiphon", "") >= set(COMMANDS)
    assert offered("antiphon", "serve", "--por") == {"--port"}
    assert "--server.limits.queued-turns" in offered("antiphon", "serve", "--server.limits.")
    assert offered("antiphon", "completion", "") >= set(SHELLS)
    assert offered("antiphon", "config", "s") == {"show", "schema"}
    assert "--origin" in offered("antiphon", "config", "show", "--or")
