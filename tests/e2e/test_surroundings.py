"""A running server as an operator sees it: probes, models, metrics, sockets."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import openai
import psutil  # type: ignore[import-untyped]
import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon_executor.tiny.qwen3_omni_config import SPEAKERS
from tests.e2e.answers import SPOKEN, ask, said
from tests.e2e.server_process import MODEL, RunningServer

pytestmark = [pytest.mark.engine, pytest.mark.promise("R12", "R30")]


@pytest.mark.parametrize("probe", ["/livez", "/readyz", "/health"])
def test_probes_report_a_healthy_server(served: RunningServer, probe: str) -> None:
    assert served.get(probe).status_code == 200


def test_the_model_is_listed_with_its_capabilities(client: openai.OpenAI, served: RunningServer) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    (model,) = served.get("/v1/models").json()["data"]
    assert model["max_model_len"] == 4096
    assert set(model["input_modalities"]) == {"text", "audio", "image", "video"}
    assert model["output_modalities"] == ["text", "audio"]
    assert set(model["voices"]) == set(SPEAKERS)


def test_the_banner_says_that_weights_are_random(served: RunningServer) -> None:
    assert "random weights" in served.log.read_text()


def test_metrics_count_both_stages(client: openai.OpenAI, served: RunningServer) -> None:
    before = served.metrics()
    answer = ask(client, said("Count me."), seed=1, **SPOKEN)
    spent = answer.usage.completion_tokens_details
    after = served.metrics()

    def grown(name: str) -> float:
        return after[name, ""] - before[name, ""]

    assert grown("vllm:generation_tokens_total") == spent.text_tokens
    # One step more than frames: the one that draws the end.
    assert grown("antiphon_talker_generation_tokens_total") - spent.audio_tokens in (0, 1)
    assert grown("antiphon_audio_seconds_generated_total") == pytest.approx(len(answer.pcm) / 48_000)
    assert grown("antiphon_time_to_first_audio_seconds_count") == 1


def test_routers_find_one_series_of_each_gauge_of_vllm(served: RunningServer) -> None:
    found = {one.name: one for one in text_string_to_metric_families(served.get("/metrics").text)}
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "cache_config_info"):
        assert len(found[f"vllm:{name}"].samples) == 1, name
        assert f"antiphon_talker_{name}" in found
    samples = [sample for one in found.values() if one.name.startswith("vllm:") for sample in one.samples]
    assert not [sample.name for sample in samples if "stage" in sample.labels]
    cache = found["vllm:cache_config_info"].samples[0].labels
    assert int(cache["block_size"]) > 0
    assert int(cache["num_gpu_blocks"]) > 0


def test_the_exposition_is_valid(served: RunningServer) -> None:
    text = served.get("/metrics").text
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families)) > 50
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)
        assert done.returncode in (0, 3), done.stderr  # 3: names that promtool would have chosen otherwise


def test_the_server_listens_only_on_its_port_and_the_engines_on_no_reachable_address(
    served: RunningServer,
) -> None:
    """The engines' own listeners are torch's (Gloo makes one a process group), on the loopback."""
    server, *engines = served.tree()
    own = [c.laddr for c in server.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert own == [("127.0.0.1", served.port)]
    for process in engines:
        listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert all(address.ip == "127.0.0.1" for address in listening), process


def test_every_unix_socket_lies_in_a_private_folder(served: RunningServer) -> None:
    paths = {
        Path(str(connection.laddr))
        for process in served.tree()
        for connection in process.net_connections("unix")
        if str(connection.laddr).startswith("/")
    }
    assert {"text", "frames", "rows"} <= {path.name for path in paths}
    for path in paths:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path
