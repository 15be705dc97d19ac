"""Memory plans of every tier, calculated for the published sizes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from antiphon_executor.interface.settings import EngineSettings, TalkerSettings, ThinkerSettings
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.presets import larger, nano, published
from antiphon_executor.models.talker.slots import SlotPool, SlotShape
from antiphon_executor.planning.memory_map import memory_map
from antiphon_executor.planning.outlook import geometry_of, outlook
from antiphon_executor.planning.planner import GiB, MemoryPlan, plan_memory, thinker_pages
from antiphon_executor.planning.report import plan_as_line, plan_as_text
from antiphon_executor.planning.weight_sizes import weight_sizes
from antiphon_server.config.sources import load
from antiphon_server.config.tier import TIERS
from tests.checkpoints import tiny_qwen3_5_omni, tiny_qwen3_omni  # noqa: F401

# The machine that each tier is for: memory of a GPU, or of a machine without one.
MACHINES = {"plus": 141_000_000_000, "flash": 80 * GiB, "light": 80 * GiB, "nano": 6 * GiB}


def sizes(tier: str) -> Qwen3_5OmniMoeConfig:
    if tier == "plus":
        return larger()
    return nano(dict.fromkeys(_NANO_TOKENS, 1)) if tier == "nano" else published()


_NANO_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "system", "user",
    "assistant", "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>", "<|image_pad|>", "<|video_pad|>",
    "<|vision_start|>", "<|vision_end|>",
)  # fmt: skip


def plan_of(tier: str) -> MemoryPlan:
    settings = load({"tier": tier, "engine.model": "somewhere"}).settings.engine
    return plan_memory(sizes(tier), settings, MACHINES[tier], gpus=tier != "nano")


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_fits_the_machine_that_it_is_for(tier: str) -> None:
    plan = plan_of(tier)
    assert plan.shortages == ()
    assert plan.contexts >= 1
    assert plan.streams == load({"tier": tier, "engine.model": "x"}).settings.engine.talker.streams


@pytest.mark.parametrize(("tier", "contexts"), [("plus", 6), ("flash", 4), ("light", 3)])
def test_a_tier_leaves_the_whole_context_to_several_requests(tier: str, contexts: int) -> None:
    plan = plan_of(tier)
    assert plan.engines[0].request_tokens == 262_144
    assert plan.contexts == contexts


@pytest.mark.parametrize("tier", ["plus", "flash", "light"])
def test_on_smaller_gpus_the_plan_says_what_is_missing_and_how_much(tier: str) -> None:
    settings = load({"tier": tier, "engine.model": "somewhere"}).settings.engine
    plan = plan_memory(sizes(tier), settings, 40 * GiB, gpus=True)
    assert not plan.fits
    assert plan.shortages[0].startswith("thinker: ")
    assert plan.shortages[0].endswith(" short")


def test_the_published_sizes_are_counted() -> None:
    counted = weight_sizes(published())
    assert counted.layers + counted.vocabulary == pytest.approx(34.66e9, rel=0.01)
    assert counted.talker == pytest.approx(6.2e9, rel=0.01)
    whole = weight_sizes(larger())
    assert whole.layers + whole.vocabulary == pytest.approx(397e9, rel=0.01)


def test_more_gpus_share_the_layers_and_each_has_the_towers() -> None:
    one, two = (_thinker_weights(ThinkerSettings(tensor_parallel_size=count)) for count in (1, 2))
    towers = weight_sizes(published()).towers * 2
    assert two - towers == pytest.approx((one - towers) / 2, rel=1e-6)


def test_eight_bits_halve_the_layers_alone() -> None:
    whole, eight = (_thinker_weights(ThinkerSettings(quantization=kind)) for kind in (None, "fp8"))
    assert whole - eight == weight_sizes(published()).layers


def test_engines_that_share_a_gpu_cannot_have_more_than_all_of_it() -> None:
    settings = EngineSettings(
        model=Path("x"),
        thinker=ThinkerSettings(gpu_memory_utilization=0.7),
        talker=TalkerSettings(gpu_memory_utilization=0.4),
    )
    plan = plan_memory(published(), settings, 141 * GiB, gpus=True)
    assert "shares of GPU 0 add up to 155.10 GiB; it has 141.00 GiB: 14.10 GiB short" in plan.shortages[-1]


def test_without_speech_there_is_one_engine() -> None:
    plan = plan_memory(published(), EngineSettings(model=Path("x"), speech=False), 141 * GiB, gpus=True)
    assert [engine.name for engine in plan.engines] == ["thinker"]
    assert plan.streams == 0


def test_too_few_named_gpus_are_rejected() -> None:
    settings = EngineSettings(model=Path("x"), thinker=ThinkerSettings(tensor_parallel_size=2, device="3"))
    with pytest.raises(ValueError, match="2 GPUs are needed; '3' names 1"):
        plan_memory(published(), settings, 80 * GiB, gpus=True)


def test_slots_are_counted_as_the_worker_makes_them() -> None:
    config, settings = published(), TalkerSettings(streams=4, media_rows=1024, max_frames=256)
    plan = plan_memory(config, EngineSettings(model=Path("x"), talker=settings), 80 * GiB, gpus=True)
    speech, hidden = config.talker_config, config.talker_config.text_config.hidden_size
    shape = SlotShape(5, 256, speech.num_code_groups, speech.codec_vocab_size, hidden, 1024)
    with torch.device("meta"):
        vocoder = StreamingCode2Wav(config.code2wav_config, slots=5)
    pool = SlotPool(
        shape, dtype=torch.bfloat16, device=torch.device("meta"), reset_vocoder=lambda slots: None
    )
    large = (pool.history, pool.seen)
    made = sum(tensor.numel() * tensor.element_size() for tensor in large)
    made += 5 * vocoder.state.bytes_per_slot + 1024 * hidden * 2
    assert plan.engines[1].slots_bytes == made


def test_both_families_are_planned_by_their_checkpoints(
    tiny_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_5_omni: Path,  # noqa: F811
) -> None:
    from antiphon_executor.checkpoint.family import read_config

    for folder in (tiny_qwen3_omni, tiny_qwen3_5_omni):
        config = read_config(folder)
        # As the file is: without it vLLM would load float32 as bfloat16.
        kept = {"dtype": "float32" if config.dtype == torch.float32 else "auto"}
        settings = EngineSettings(model=folder, thinker=kept, talker=kept)
        plan = plan_memory(config, settings, 8 * GiB, gpus=False)
        assert plan.fits, plan.shortages
        weights = sum(engine.weights_bytes for engine in plan.engines)
        assert weights == pytest.approx((folder / "model.safetensors").stat().st_size, rel=0.05)


def _thinker_weights(thinker: ThinkerSettings) -> int:
    settings = EngineSettings(model=Path("x"), thinker=thinker)
    return plan_memory(published(), settings, 80 * GiB, gpus=True).engines[0].weights_bytes


def test_without_a_talker_the_cache_keeps_no_hidden_states() -> None:
    spoken, text = EngineSettings(model=Path("x")), EngineSettings(model=Path("x"), speech=False)
    assert thinker_pages(published(), spoken).row_layers > 0
    assert thinker_pages(published(), text).row_layers == 0


def test_a_checkpoint_without_a_talker_has_one_engine_and_no_hidden_states() -> None:
    speaking, silent = published(), published()
    silent.enable_audio_output = False
    settings = EngineSettings(model=Path("x"))
    plan = plan_memory(silent, settings, 141 * GiB, gpus=True)
    assert [engine.name for engine in plan.engines] == ["thinker"]
    assert plan_as_text(plan).splitlines()[-2] == "this checkpoint has no Talker: the server answers in text"
    spoken = plan_memory(speaking, settings, 141 * GiB, gpus=True)
    assert plan.engines[0].request_bytes < spoken.engines[0].request_bytes


def test_auto_is_what_vllm_loads() -> None:
    """vLLM loads a float32 checkpoint as bfloat16 unless `dtype` says otherwise."""
    config = published()
    config.dtype = torch.float32
    sizes_of = {
        dtype: plan_memory(config, EngineSettings(model="x", thinker={"dtype": dtype}), 80 * GiB, gpus=True)
        for dtype in ("auto", "bfloat16", "float32")
    }
    weights = {dtype: plan.engines[0].weights_bytes for dtype, plan in sizes_of.items()}
    assert weights["auto"] == weights["bfloat16"] == weights["float32"] / 2


def test_blocks_of_a_cpu_are_multiples_of_128_tokens() -> None:
    settings = EngineSettings(model="x")
    assert thinker_pages(published(), settings, on_cpu=True).block_tokens % 128 == 0
    assert thinker_pages(published(), settings).block_tokens % 128 != 0


@pytest.mark.parametrize("gpus", [True, False])
def test_a_plan_counts_the_block_that_vllm_keeps(gpus: bool) -> None:
    plan = plan_memory(published(), EngineSettings(model="x"), 160 * GiB, gpus=gpus)
    for engine in plan.engines:
        assert engine.blocks == engine.cache_bytes // engine.pages.block_bytes
        most = engine.requests_of(4_096)
        assert most * engine.pages.request_blocks(4_096) < engine.blocks
        assert (most + 1) * engine.pages.request_blocks(4_096) >= engine.blocks


def test_only_what_is_certain_is_refused_at_the_start() -> None:
    config = published()
    small = plan_memory(config, EngineSettings(model="x"), 30 * GiB, gpus=True)
    assert any("weights and slots take" in shortage for shortage in small.certain_shortages)
    tight = EngineSettings(model="x", thinker={"kv_cache_memory_bytes": 1 << 30})
    cache = plan_memory(config, tight, 512 * GiB, gpus=False)
    assert "raise --kv-cache-memory-bytes or lower --max-model-len" in cache.certain_shortages[0]
    machine = plan_memory(config, EngineSettings(model="x"), 8 * GiB, gpus=False)
    assert "the machine has 8.00 GiB" in machine.certain_shortages[-1]
    fits = plan_memory(
        config, EngineSettings(model="x", thinker={"max_model_len": 4096}), 512 * GiB, gpus=False
    )
    assert fits.certain_shortages == ()
    assert "requests of the whole context" in plan_as_line(fits)


def test_the_outlook_answers_for_requests_audio_and_video() -> None:
    settings = EngineSettings(model="x", thinker={"tensor_parallel_size": 2})
    plan = plan_memory(published(), settings, 141_000_000_000, gpus=True)
    view = outlook(plan, published(), settings, rate=1_000.0)
    assert [row.tokens for row in view.rows] == [4_096, 32_768, 262_144]
    assert [row.requests for row in view.rows] == [
        plan.engines[0].requests_of(row.tokens) for row in view.rows
    ]
    assert view.rows[-1].prefill_s == pytest.approx(262.1, abs=0.1)
    assert view.limit == "the model's context"
    geometry = geometry_of(published())
    assert geometry.audio_tokens(view.audio_s * 16_000) <= 262_144 - 256
    assert geometry.audio_tokens((view.audio_s + 1) * 16_000) > 262_144 - 256
    assert 36_000 < view.audio_s < 37_450
    assert 400 < view.video_s < 600
    assert view.spoken_audio_s < view.audio_s
    assert any("media-rows" in advice for advice in view.advice)


def test_a_cache_that_is_smaller_than_the_context_is_the_limit() -> None:
    settings = EngineSettings(model="x", thinker={"kv_cache_memory_bytes": 1 << 30}, speech=False)
    plan = plan_memory(published(), settings, 141_000_000_000, gpus=True)
    view = outlook(plan, published(), settings)
    assert view.limit == "the Thinker's cache"
    assert 0 < view.longest_tokens < 262_144
    assert view.spoken_audio_s == 0
    assert "raise --gpu-memory-utilization" in view.advice[0]


@pytest.mark.parametrize("gpus", [True, False])
def test_the_memory_map_shows_every_part(gpus: bool) -> None:
    plan = plan_memory(published(), EngineSettings(model="x"), 141_000_000_000, gpus=gpus)
    picture = memory_map(plan, (("process", 400 << 20), ("bodies", 2 << 30)))
    root = ElementTree.fromstring(picture)
    text = " ".join(root.itertext())
    for part in ("thinker: weights", "talker: cache", "server: bodies", "131.3 GiB"):
        assert part in text
    assert text.count("GPU 0") == gpus
