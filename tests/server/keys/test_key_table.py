"""Key files: one key a line, or YAML with classes and their limits. Errors quote no key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from antiphon_server.admission.capacity import KeyLimits
from antiphon_server.keys.key_table import KeyFileError, KeyTable, read_key_file

pytestmark = pytest.mark.promise("R3", "R15")

SECRET = "canary-key-5511"
CLASSES = """
classes:
  interactive: {requests: 8, audio_seconds_per_minute: 600}
  batch: {tokens_per_minute: 20000}
"""


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def read(folder: Path, name: str, text: str) -> KeyTable:
    (folder / name).write_text(text)
    return read_key_file(folder / name)


def test_a_line_is_a_key_of_the_default_class(tmp_path: Path) -> None:
    table = read(tmp_path, "keys", f"# ours\n{SECRET}\n\n  other  \n")
    assert table.classes == {sha256(SECRET): "default", sha256("other"): "default"}
    assert table.limits == {}


def test_yaml_has_classes_with_limits_and_keys_or_their_hashes(tmp_path: Path) -> None:
    keys = (
        "keys:\n- {key: one, class: batch}\n"
        f"- {{sha256: {sha256('two')}, class: interactive}}\n- key: three\n"
    )
    table = read(tmp_path, "keys.yaml", CLASSES + keys)
    assert table.classes == {
        sha256("one"): "batch",
        sha256("two"): "interactive",
        sha256("three"): "default",
    }
    assert table.limits == {
        "interactive": KeyLimits(requests=8, audio_seconds_per_minute=600),
        "batch": KeyLimits(tokens_per_minute=20_000),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys: []", "at least 1"),
        (f"keys: [{SECRET}]", "keys.0"),
        (f"keys: [{{{SECRET}: batch}}]", "keys.0"),
        (f"keys: [{{key: {SECRET}, class: gold}}]", "no class gold"),
        (f"keys: [{{key: '{SECRET} x'}}]", "visible ASCII"),
        (f"keys: [{{key: {SECRET}, sha256: {'a' * 64}}}]", "either key or sha256"),
        ("keys: [{class: default}]", "either key or sha256"),
        ("keys: [{sha256: ab12}]", "sha256"),
        ("classes: {Gold: {}}\nkeys: [{key: a}]", "classes"),
        ("classes: {gold: {requests: -1}}\nkeys: [{key: a}]", "requests"),
        (f"keys: [{{key: {SECRET}", "not valid YAML"),
    ],
)
def test_an_error_names_the_place_and_quotes_no_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        read(tmp_path, "keys.yaml", text)
    assert said in str(caught.value)
    assert "keys.yaml" in str(caught.value) or "ASCII" in said
    assert SECRET not in str(caught.value)


def test_a_file_without_a_key_or_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="holds no key"):
        read(tmp_path, "keys", "# none\n")
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key_file(tmp_path / "none")
