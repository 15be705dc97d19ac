"""The child process of `bench_frame`: the end of a Talker step with antiphon-nano's weights, without vLLM.

Each line on stdin is a number of streams; it prints the ms of each part of a step, averaged over some steps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

import antiphon_executor
from antiphon_executor.models.torchvision_ops import define_missing_operators

define_missing_operators()

from transformers.models.qwen3_omni_moe import configuration_qwen3_omni_moe as families  # noqa: E402

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav  # noqa: E402
from antiphon_executor.models.talker.code_predictor import CodePredictor  # noqa: E402
from antiphon_executor.models.talker.frame_step import FrameStep, SpeechHead  # noqa: E402
from antiphon_executor.models.talker.sampling import ResidualDraw, StreamSampling  # noqa: E402
from antiphon_executor.models.talker.slots import NewStream, SlotPool, SlotShape  # noqa: E402
from antiphon_executor.models.talker.step_rows import StepRows  # noqa: E402
from antiphon_executor.models.talker.streams import FrameDraws  # noqa: E402
from antiphon_executor.models.talker.weights import read_wanted  # noqa: E402

CHECKPOINT = Path(antiphon_executor.__file__).parent / "shipped" / "antiphon-nano"
STREAMS, MAX_FRAMES, STEPS = 16, 4096, 6
DTYPE = torch.bfloat16


class Streams:
    """Every row draws the next frame of its stream."""

    def __init__(self, pool: SlotPool) -> None:
        self.pool = pool

    def draws(self, rows: StepRows) -> FrameDraws:
        never = torch.zeros_like(rows.slot, dtype=torch.bool)
        return FrameDraws(self.pool.frames[rows.slot] % MAX_FRAMES, never, never)


class Sender:
    """Packs frames as `FrameSender` does, and drops them."""

    def send(self, step: Any) -> None:
        for row, stream in enumerate(step.stream.tolist()):
            if stream >= 0:
                step.codes[row].numpy().tobytes(), step.pcm[row].numpy().tobytes()


class Bench:
    def __init__(self) -> None:
        config = json.loads((CHECKPOINT / "config.json").read_text())
        talker = config["talker_config"]
        self.hidden = talker["text_config"]["hidden_size"]
        predictor_config = families.Qwen3OmniMoeTalkerCodePredictorConfig(**talker["code_predictor_config"])
        weights = dict(read_wanted(CHECKPOINT, ("talker.code_predictor.", "talker.codec_head", "code2wav.")))
        predictor = CodePredictor(predictor_config, self.hidden).to(DTYPE)
        prefix = "talker.code_predictor."
        predictor.load_weights(
            (name.removeprefix(prefix), weight) for name, weight in weights.items() if name.startswith(prefix)
        )
        vocoder_config = families.Qwen3OmniMoeCode2WavConfig(**config["code2wav_config"])
        vocoder = StreamingCode2Wav(vocoder_config, slots=STREAMS + 1).float()
        vocoder.load_weights((n, w) for n, w in weights.items() if n.startswith("code2wav."))
        vocab = talker["codec_vocab_size"]
        head = nn.Linear(self.hidden, vocab, bias=False).to(DTYPE)
        head.weight.data.copy_(weights["talker.codec_head.weight"])
        shape = SlotShape(STREAMS + 1, MAX_FRAMES, talker["num_code_groups"], vocab, self.hidden, 4)
        self.pool = SlotPool(shape, dtype=DTYPE, device=torch.device("cpu"), reset_vocoder=vocoder.reset)
        for slot in range(1, STREAMS + 1):
            self.pool.open(NewStream(slot, slot, 0, StreamSampling(seed=slot), torch.zeros(0, self.hidden)))
        embedding = nn.Embedding(vocab, self.hidden).to(DTYPE)
        self.predictor, self.vocoder = predictor, vocoder
        speech = SpeechHead(
            head, embedding, predictor, vocoder, talker["codec_eos_token_id"], talker["suppressed_codes"]
        )
        self.step = FrameStep(speech, cast(Any, Streams(self.pool)), cast(Any, Sender()), 2 * STREAMS)

    @torch.inference_mode()
    def measure(self, n: int) -> dict[str, float]:
        """ms of each part for `n` streams; the parts after `whole` are within it."""
        slot = torch.arange(1, n + 1)
        rows = StepRows(slot, slot, slot - 1, slot)
        hidden, code0 = torch.randn(n, self.hidden).to(DTYPE), torch.randn(n, self.hidden).to(DTYPE)
        sampling = self.pool.sampling.rows(slot, self.pool.frames[slot])
        groups = self.pool.shape.code_groups
        codes = torch.randint(0, 512, (n, 1, groups))
        logits = torch.randn(n, 512).to(DTYPE)

        def whole() -> None:
            self.step.begin(rows)
            self.step.finish(hidden)

        def draws() -> None:
            draw = ResidualDraw(sampling, groups)
            for group in range(1, groups):
                draw(logits, group)

        parts: dict[str, Callable[[], object]] = {
            "whole": whole,
            "predictor": lambda: self.predictor(hidden, code0, ResidualDraw(sampling, groups)),
            "draws": draws,
            "vocoder": lambda: self.vocoder(codes, slot),
        }
        return {name: _mean_ms(part) for name, part in parts.items()}


def _mean_ms(part: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        part()
    return (time.perf_counter() - began) * 1e3 / STEPS


def main() -> None:
    bench = Bench()
    for line in sys.stdin:
        print(json.dumps(bench.measure(int(line))), flush=True)


if __name__ == "__main__":
    main()
