"""The page in a real browser on antiphon-nano: it hears, sees, is interrupted, survives an engine's death.

One server and one browser run all tests, in this order.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, find_chromium
from tests.browser.page import Page
from tests.e2e.ear import Ear
from tests.e2e.forked_server import forked
from tests.e2e.live_stream import thinker_process
from tests.e2e.server_process import RunningServer
from tests.page.stage import ask, heard, listener, nano_server, opened

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with nano_server(tmp_path_factory.mktemp("page") / "log", launch=forked) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip("chromium is not installed")
    with listener(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(server: RunningServer, browser: Browser) -> Iterator[Page]:
    """A page that is ready. It asks nothing of other hosts and says nothing on the console."""
    with browser.page() as page:
        page.resize(1440, 900)
        opened(page, server.url + "/")
        yield page
        page.listen(0.1)
        assert page.console == []
        assert {url.split("/")[2] for url in page.requests if "://" in url} == {server.url.split("/")[2]}


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear(pytest.importorskip("pocketsphinx"))


def sound_of(page: Page) -> bytes:
    """The speech of the last answer that the player played: s16le at 24 kHz."""
    encoded = page.run(
        "import(new URL('page/audio/pcm.js', document.baseURI))"
        ".then(pcm => pcm.toBase64(antiphon.conversation.turns.at(-1).run.pcm))"
    )
    return base64.b64decode(encoded)


def sums() -> list[str]:
    names = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen")
    return [f"seven plus five is {name}" for name in names]


def test_a_spoken_example_is_answered_aloud_and_rightly(page: Page, ear: Ear) -> None:
    page.click("#example-ask")
    assert "twelve" in heard(page)
    assert ear.hear(sound_of(page), sums()) == "seven plus five is twelve"
    page.wait_for("!document.querySelector('.captions .word:not(.is-heard)')")
    assert page.run("document.querySelectorAll('.captions .word').length") >= 5
    names = "[...document.querySelectorAll('.timeline .span-name')].map(one => one.textContent)"
    page.wait_for(f"{names}.includes('Playing')", 30)
    spans = page.run(names)
    assert {"Upload", "Admission", "Prefill", "Voice", "Speech", "Sound", "Playing"} <= set(spans)
    assert "audio" in page.run("document.querySelector('#usage').textContent")
    assert page.run("document.querySelector('#announcements').textContent").strip().endswith(".")
    assert page.errors == []


def test_hands_free_an_answer_is_interrupted_and_the_next_question_answered(page: Page, ear: Ear) -> None:
    page.click("#live-button")
    answers = "antiphon.conversation.turns.filter(turn => turn.run)"
    page.wait_for(f"{answers}[1]?.run.marks.played !== undefined", 60)
    first, second = page.run(
        f"{answers}.slice(0, 2).map(({{run}}) => ({{text: run.text, heard: run.heard, finish: run.finish}}))"
    )
    assert "one, two" in first["heard"].lower()
    assert "twenty" not in first["heard"].lower()
    assert "twelve" in second["text"].lower()
    page.click("#live-button")
    page.run(f"antiphon.conversation.store.set({{turns: {answers}.slice(0, 2)}})")
    assert ear.hear(sound_of(page), sums()) == "seven plus five is twelve"
    assert page.errors == []


def test_a_picture_of_the_camera_is_seen(page: Page) -> None:
    page.click("#camera-button")
    page.wait_for("document.querySelector('#camera-dialog[open] video')?.videoWidth > 0")
    page.click("#camera-dialog button[value=take]")
    page.wait_for("document.querySelectorAll('#attachments img').length === 1")
    text = ask(page, "What do you see?").lower()
    assert "red" in text
    assert "circle" in text
    assert page.errors == []


def test_two_voices_play_in_step(page: Page) -> None:
    page.click("#tab-compare")
    page.click("#compare-form button[type=submit]")
    page.wait_for("antiphon.compare.player?.report.state === 'ended'", 60)
    page.click("#compare-play")
    page.wait_for("antiphon.compare.player.report.position > 4800", 30)
    position, played = page.run(
        "(({report, runs}) => [report.position, runs.map((run, at) => run.samples - report.buffered[at])])"
        "(antiphon.compare.player)"
    )
    assert played == [position, position]
    assert page.run("antiphon.compare.runs.map(run => run.request.voice)") == ["heart", "deep"]
    assert page.run("antiphon.compare.runs.every(run => run.samples > 20000 && !run.error)")
    assert page.errors == []


def test_a_seed_is_repeated_bit_for_bit_and_a_trace_is_opened_again(page: Page, tmp_path: Path) -> None:
    page.run("antiphon.settings.set({seed: 7, talker_seed: 11})")
    text = ask(page, "What is two plus three?")
    page.click("#tab-code")
    page.click("#trace-repeat")
    said = "document.querySelector('#replay-verdict').textContent"
    page.wait_for(f"/bit for bit|ifferen/.test({said})", 60)
    assert "bit for bit" in page.run(said)
    trace = page.run(
        "Promise.all(['history', 'trace'].map(name => import(new URL(`page/${name}.js`, document.baseURI))))"
        ".then(([history, trace]) => trace.write(history.stored('x', antiphon.conversation.turns)))"
    )
    sound = sound_of(page)
    (tmp_path / "trace.json").write_text(trace)
    page.click("#new-button")
    page.choose_files("#trace-input", tmp_path / "trace.json")
    page.wait_for("antiphon.conversation.turns.length === 2")
    assert page.run("antiphon.conversation.turns[1].text") == text
    assert sound_of(page) == sound
    page.click("#history-button")
    page.wait_for("document.querySelectorAll('#history-list li').length >= 1")
    assert page.errors == []


def test_what_is_copied_as_code_runs(page: Page, tmp_path: Path) -> None:
    """The benchmark's command is parsed in tests/server/page."""
    page.click("#example-show")
    heard(page)
    page.click("#tab-code")
    links = "[...document.querySelectorAll('#code-file-list a')]"
    for name, url in page.run(f"{links}.map(link => [link.download, link.href])"):
        (tmp_path / name).write_bytes(base64.b64decode(url.partition(",")[2]))
    runs = {
        "curl": ["bash", "-c"],
        "python": [sys.executable, "-c"],
        "javascript": ["node", "--input-type=module", "-e"],
    }
    for language, command in runs.items():
        page.run(
            f"(list => {{ list.value = '{language}'; list.dispatchEvent(new Event('change')); }})"
            "(document.querySelector('#code-language'))"
        )
        code = page.run("document.querySelector('#code-text').textContent")
        done = subprocess.run(
            [*command, code],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (language, code, done.stderr[-800:])
        assert says_what_is_there(done.stdout), (language, done.stdout[-800:])


def says_what_is_there(output: str) -> bool:
    """Whether it is the answer, plain or in chunks."""
    chunks = [line.removeprefix("data: ") for line in output.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
    text = "".join((delta.get("audio") or {}).get("transcript") or "" for delta in deltas) or output
    return "red" in text and "circle" in text


def test_it_is_used_by_keyboard(page: Page) -> None:
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "Skip to the message"
    page.run("document.querySelector('#tab-timing').focus()")
    page.press("ArrowRight")
    assert page.run("document.activeElement.id") == "tab-settings"
    assert page.run("!document.querySelector('#panel-settings').hidden")
    page.wait_for("document.querySelector('#set-temperature').max === '2'")
    page.run("document.querySelector('#example-count').focus()")
    page.press("Enter")
    page.wait_for("antiphon.conversation.turns[1]?.run.samples > 0", 60)
    page.press("Escape")
    page.wait_for("antiphon.conversation.turns[1].run.isOver && !antiphon.conversation.store.value.isBusy")
    assert page.run("antiphon.conversation.turns[1].run.heard") is not None


def test_the_death_of_an_engine_is_shown_and_survived(page: Page, server: RunningServer) -> None:
    page.click("#example-count")
    page.wait_for("antiphon.conversation.turns[1]?.run.samples > 0", 60)
    thinker_process(server).kill()
    page.wait_for("document.querySelector('#health').dataset.state !== 'ready'", 30)
    assert "engine" in page.run("document.querySelector('#health').textContent")
    page.run("antiphon.conversation.interrupt()")
    ask(page, "What is two plus three?")
    assert page.wait_for("document.querySelector('.turn:last-child .problem p')?.textContent")
    page.wait_for("document.querySelector('#health').dataset.state === 'ready'", 120)
    page.click(".turn:last-child .problem button")
    page.wait_for("antiphon.conversation.turns.at(-1).run.samples > 0", 60)
    assert "five" in heard(page)
    # A browser logs each answer that is no success; the page does not.
    assert all("status of 503" in error for error in page.errors)
