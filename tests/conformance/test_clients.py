"""Real clients: text, speech, streams, tools, refusals and faults, as their users see them."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest

from tests.conformance.__main__ import is_good
from tests.conformance.catalog import Outcome
from tests.conformance.conftest import Served
from tests.conformance.homes import LITELLM, OPENAI_2, OPENAI_3, OPENAI_NODE, CannotInstall, Home

Results = dict[str, Any]
SCRIPTS: dict[Home, str] = {
    OPENAI_3: "echo/openai_python.py",
    OPENAI_2: "echo/openai_python.py",
    OPENAI_NODE: "echo/openai_node.mjs",
    LITELLM: "echo/litellm_python.py",
}
HOMES = {home.name: home for home in SCRIPTS}


@pytest.fixture(scope="module", params=sorted(HOMES))
def results(request: pytest.FixtureRequest, served: Served) -> Results:
    """Everything one client got, by case."""
    home = HOMES[request.param]
    try:
        home.install()
    except CannotInstall as error:
        pytest.skip(str(error))
    done = subprocess.run(
        home.command(SCRIPTS[home], served.url, str(home.folder)),
        env=home.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return {"client": home, **json.loads(done.stdout.strip().splitlines()[-1])}


def test_a_client_that_tried_nothing_is_not_good() -> None:
    assert is_good(Outcome("1", {"text": None}))
    for outcome in (Outcome("1", {}), Outcome("1", {"text": "wrong"}), Outcome("", {}, "gone")):
        assert not is_good(outcome)


def test_it_is_the_client_that_was_meant(results: Results) -> None:
    """An isolated home must not fall through to what the tests themselves run with."""
    home = results["client"]
    if home.is_node:
        assert home.requires == (f"openai@{results['version']}",)
    else:
        locked = home.locks[0].read_text()
        assert f"\n{home.name.partition('-')[0]}=={results['version']} " in f"\n{locked}"


# litellm does not list a server's models.
@pytest.mark.parametrize("results", sorted(HOMES.keys() - {"litellm"}), indirect=True)
def test_models_are_listed(results: Results) -> None:
    assert results["models"] == ["echo"]


def test_text_arrives(results: Results) -> None:
    assert results["text"] == "hello world"


def test_streamed_text_arrives_with_its_usage(results: Results) -> None:
    streamed = results["streamed_text"]
    assert streamed["text"] == "hello"
    assert streamed["usage"]["completion_tokens"] == 2
    assert streamed["usage"]["total_tokens"] == streamed["usage"]["prompt_tokens"] + 2


@pytest.mark.promise("R20")
@pytest.mark.parametrize(
    ("case", "transcript"),
    [("spoken", "good morning"), ("streamed", "good evening"), ("helper", "good night")],
)
def test_speech_arrives_as_the_engine_made_it(
    results: Results, served: Served, case: str, transcript: str
) -> None:
    """Sample for sample, also if the client concatenates the base64 and decodes it once."""
    heard = results[case]
    assert heard["transcript"] == transcript
    assert len(served.engine.spoken[heard["id"]]) > 10_000
    assert base64.b64decode(heard["pcm"]) == served.engine.spoken[heard["id"]]


def test_tool_calls_are_put_together(results: Results) -> None:
    assert results["tool"] == {"name": "add", "arguments": '{"a": 1}', "reason": "tool_calls"}


def test_a_refusal_is_the_clients_own_exception(results: Results) -> None:
    refused = results["refused"]
    assert refused["status"] == 400
    assert refused.get("param", "audio.voice") == "audio.voice"
    assert refused.get("has_id", True)


def test_a_fault_in_mid_stream_is_raised(results: Results) -> None:
    assert results["fault"] == "internal_error"


@pytest.mark.parametrize(
    "results", [name for name in sorted(HOMES) if name.startswith("openai-py")], indirect=True
)
def test_files_are_uploaded_used_and_deleted(results: Results) -> None:
    assert results["files"] == {
        "same": True,
        "bytes": 69,
        "names": ["b.png", "red.png"],
        "lifetime": 3_600,
        "content": True,
        "text": "look",
        "deleted": [True, True],
        "gone": "file_not_found",
    }


OPENAI = [name for name in sorted(HOMES) if name.startswith("openai-")]


@pytest.mark.parametrize("results", OPENAI, indirect=True)
def test_a_text_is_read_aloud_whole_and_streamed(results: Results, served: Served) -> None:
    speech = results["speech"]
    spoken = set(served.engine.spoken.values())
    assert {base64.b64decode(pcm) for pcm in speech["pcm"]} <= spoken
    assert speech["kind"] == "audio/pcm"
    assert speech["mp3"] > 1_000


@pytest.mark.parametrize("results", OPENAI, indirect=True)
def test_speech_that_breaks_off_is_never_a_complete_file(results: Results) -> None:
    """On a real connection the chunked encoding has no end then."""
    assert "Error" in results["broken_speech"]


@pytest.mark.parametrize("results", OPENAI, indirect=True)
def test_a_silent_recording_has_an_empty_transcript_in_every_form(results: Results) -> None:
    assert results["transcript"] == {
        "json": "",
        "text": "\n",
        "srt": "",
        "duration": 1.0,
        "stream": ["transcript.text.done"],
    }
