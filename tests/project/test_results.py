"""Results name commits that a reader can check out: those of this history, as a rebase renames them."""

from __future__ import annotations

import re
import subprocess

from tests.project.sources import ROOT, tracked_texts

# Numbers of at least seven digits, and words of a to f, are no commits.
COMMIT = re.compile(r"(?<![\w/.#:-])(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,12}(?![\w-])")


def git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True).stdout


def named_commits(text: str) -> set[str]:
    return set(COMMIT.findall(text))


def test_a_commit_is_told_from_other_words() -> None:
    text = "at 0de1c5f, (`fce72d3`), 1000000 requests, a facade, #a1b2c3d, sha256:0de1c5f00a08, 0de1c5f0-uuid"
    assert named_commits(text) == {"0de1c5f", "fce72d3"}


def test_every_commit_that_a_text_names_is_in_the_history() -> None:
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        return  # It has a part of the history, and where skips are failures it must pass too.
    history = git("rev-list", "HEAD").split()
    for name, text in tracked_texts().items():
        if name.endswith(".md"):
            known = {named for named in named_commits(text) if any(one.startswith(named) for one in history)}
            assert named_commits(text) - known == set(), name
