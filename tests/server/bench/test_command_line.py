"""The flags of `antiphon bench`: defaults, usage errors in one line, and masked keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_server.bench.cli import masked_command, read_options
from antiphon_server.bench.options import Level

URL = "http://127.0.0.1:8000"
KEY = "canary-key-11"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTIPHON_API_KEY", "OPENAI_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_without_flags_one_client_asks_for_speech() -> None:
    options = read_options([URL])
    assert options.levels == (Level(concurrency=1),)
    assert (options.requests, options.duration_s) == (32, None)
    assert (options.workload.answer, options.workload.inputs) == ("speech", ("text",))


def test_levels_are_given_as_a_list() -> None:
    assert [level.name for level in read_options([URL, "--concurrency", "1,2,8"]).levels] == ["1", "2", "8"]
    open_loop = read_options([URL, "--rate", "0.5,2"])
    assert [level.name for level in open_loop.levels] == ["0.5/s", "2/s"]


def test_a_duration_alone_does_not_bound_the_number() -> None:
    options = read_options([URL, "--duration", "10"])
    assert (options.requests, options.duration_s) == (None, 10.0)


def test_mixed_means_all_kinds() -> None:
    workload = read_options([URL, "--input", "mixed", "--extra-body", '{"temperature": 0}']).workload
    assert workload.inputs == ("text", "audio", "image", "video")
    assert workload.extra == {"temperature": 0}


def test_a_folder_is_all_its_recordings(tmp_path: Path) -> None:
    for name in ("b.wav", "a.mp3"):
        (tmp_path / name).write_bytes(b"x")
    recordings = read_options([URL, "--audio", str(tmp_path)]).workload.recordings
    assert [path.name for path in recordings] == ["a.mp3", "b.wav"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["h:1"], "not an http or https URL"),
        ([URL, "--requests", "0"], "whole number above 0"),
        ([URL, "--rate", "nan"], "number above 0"),
        ([URL, "--rate", "1", "--concurrency", "1"], "exclude each other"),
        ([URL, "--input", "smell"], "'smell' is none of text, audio, image, video, mixed"),
        ([URL, "--extra-body", "[]"], "not a JSON object"),
        ([URL, "--plot", "x.png"], "ends in .svg"),
        ([URL, "--prompts", "/nowhere"], "cannot be read"),
        ([URL, "--concurency", "1"], "did you mean --concurrency?"),
        ([URL, "--api-key", KEY, "--api-key-file", "f"], "exclude each other"),
    ],
)
def test_invalid_arguments_are_a_usage_error(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read_options(argv)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert KEY not in said


def test_a_key_comes_from_a_flag_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    assert read_options([URL, "--api-key", KEY]).api_key == KEY
    assert read_options([URL, "--api-key-file", str(tmp_path / "key")]).api_key == KEY
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert read_options([URL]).api_key is None
    monkeypatch.setenv("ANTIPHON_API_KEY", KEY)
    assert read_options([URL]).api_key == KEY


@pytest.mark.parametrize(
    "flags", [["--api-key", KEY], [f"--api-key={KEY}"], ["--seed", "1", "--api-key", KEY, "--retries", "1"]]
)
def test_a_key_is_never_printed(flags: list[str]) -> None:
    options = read_options([f"http://me:{KEY}@h:1", *flags])
    assert KEY not in options.command
    assert "api_key" not in repr(options)
    assert "--api-key" in options.command


def test_the_masked_command_can_be_pasted() -> None:
    assert masked_command([URL, "--extra-body", '{"a": 1}']) == (
        f"antiphon bench {URL} --extra-body '{{\"a\": 1}}'"
    )
