"""The results of a run: a file that can be read again, a complete table, a plot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from antiphon_server.bench.options import Level, Options, Prices, Workload
from antiphon_server.bench.report.plot import as_svg
from antiphon_server.bench.report.report import Report, read_json, write_json
from antiphon_server.bench.report.table import as_text
from antiphon_server.bench.run import measure
from tests.server.bench.raw_server import Answer, finish, raw_server, refusal, sound, word

COUNTED = finish(prompt_tokens=10, completion_tokens=30, completion_tokens_details={"audio_tokens": 20})


@pytest.fixture(scope="module")
async def report() -> Report:
    """Two levels: five good answers and a rejection, then six answers with an underrun."""
    steady = Answer(((0.0, word("a")), (0.0, sound(36.0)), (0.0, COUNTED)))
    holed = Answer(((0.0, word("a")), (0.0, sound(0.1)), (0.3, sound(0.1)), (0.0, COUNTED)))
    answers: Iterator[Answer] = chain([refusal(429, "queue_full")], repeat(steady, 5), repeat(holed))

    def reply(_: dict[str, Any]) -> Answer:
        return next(answers)

    async with raw_server(reply) as server:
        options = Options(
            url=server.url,
            levels=(Level(concurrency=1), Level(concurrency=3)),
            requests=6,
            warmup=0,
            workload=Workload(dialect="openai"),
            prices=Prices(machine_hour=3.0, input_tokens=1.0, output_tokens=2.0),
            command="antiphon bench somewhere",
        )
        return await measure(options, asyncio.Event())


async def test_the_file_can_be_read_again(report: Report, tmp_path: Path) -> None:
    write_json(report, tmp_path / "report.json")
    assert read_json(tmp_path / "report.json") == report
    plain = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert (plain["schema"], plain["schema_version"]) == ("antiphon-bench", 1)
    assert len(plain["levels"][0]["streams"]) == 6


async def test_the_report_names_the_server_and_the_client(report: Report) -> None:
    text = as_text(report)
    assert report.server.version == "9.9"
    for fact in ("raw at http://127.0.0.1", "test-owner", "version 9.9", "antiphon bench somewhere", "cores"):
        assert fact in text
    assert report.created[:10] in text


async def test_the_table_hides_no_refusal_and_no_lack_of_samples(report: Report) -> None:
    rows = {line.split()[0]: line.split() for line in as_text(report).splitlines() if line[:1].isdigit()}
    # load, sent, good, clean, 429, failed, in flight, underruns
    assert rows["1"][1:6] == ["6", "5", "5", "1", "0"]
    assert rows["3"][1:6] == ["6", "6", "0", "0", "0"]
    assert rows["3"][7] == "6"
    text = as_text(report)
    assert "at 1: 1 x rejected (429): queue_full" in text
    assert "^ too few samples" in text


async def test_costs_are_reported_by_machine_and_by_token(report: Report) -> None:
    first = report.levels[0]
    assert first.machine_cost is not None
    assert first.machine_cost.total == pytest.approx(3.0 * first.wall_s / 3600)
    assert first.token_cost is not None
    assert first.token_cost.per_1000_requests == pytest.approx((10 * 1.0 + 30 * 2.0) / 1e6 * 1000)
    assert "per hour of speech" in as_text(report)


async def test_the_image_is_xml_with_a_point_a_level_and_percentile(report: Report) -> None:
    root = ElementTree.fromstring(as_svg(report))
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert (names.count("polyline"), names.count("circle")) == (3, 6)
    words = [element.text for element in root.iter() if element.text]
    assert "1 (n 5)" in words
    assert "3 (n 6)" in words


async def test_a_run_without_a_good_answer_is_still_a_report() -> None:
    async with raw_server(lambda _: refusal(503, "draining")) as server:
        options = Options(url=server.url, requests=2, warmup=0, workload=Workload(dialect="openai"))
        nothing = await measure(options, asyncio.Event())
    assert "no good answer" in as_text(nothing)
    assert ElementTree.fromstring(as_svg(nothing)) is not None
    assert nothing.levels[0].outcomes == {"unavailable": 2}


async def test_answers_in_text_need_no_audio() -> None:
    async with raw_server(lambda _: Answer(((0.0, word("a")), (0.0, finish())))) as server:
        workload = Workload(dialect="openai", answer="text")
        options = Options(url=server.url, requests=2, warmup=0, workload=workload)
        report = await measure(options, asyncio.Event())
        assert [body["modalities"] for body in server.asked] == [["text"]] * 2
    assert report.levels[0].good == 2
    assert "TTFA" not in as_text(report)
    assert "TTFT" in as_svg(report)


async def test_both_lags_stand_beside_the_figures(report: Report) -> None:
    rows = [line for line in as_text(report).splitlines() if line.startswith(("bare timer", "this client's"))]
    assert len(rows) == 4
    found = report.levels[1]
    assert found.machine is not None
    assert found.machine.underruns_in_stalls <= found.underruns
    share = f"{found.machine.underruns_in_stalls} of {found.underruns}"
    assert f"at 3: {share} underruns are no longer than a stall of the bare timer" in as_text(report)
