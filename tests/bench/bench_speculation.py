"""The passes that a speculative code predictor saves with antiphon-nano, and whether its codes are equal.

`python -m tests.bench.bench_speculation` speaks a few sentences with the reference, then draws each frame's
codes again by the product's predictor, plain and with each window. Counts do not depend on load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoTokenizer

from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.sampling import ResidualDraw, Sampling
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.speech import family_sampling, speak
from antiphon_executor.shipped import ANTIPHON_NANO

SENTENCES = (
    "The library opens at nine and closes at six in the evening.",
    "No, I do not think that it will rain tomorrow.",
    "One, two, three, four, five, six, seven, eight.",
    "A train leaves every ten minutes, and the last one at midnight.",
)
WINDOWS = (2, 3, 4)
MAX_FRAMES = 60


@dataclass(frozen=True)
class Frame:
    """What the predictor was given for one frame."""

    hidden: Tensor
    code0: Tensor
    sampling: Sampling


class Recorder:
    """In place of the reference's draw: remembers what it was asked."""

    def __init__(self, model: Qwen3_5OmniMoeForConditionalGeneration) -> None:
        self.frames: list[Frame] = []
        self._draw = model.talker.code_predictor.draw
        model.talker.code_predictor.draw = self

    def __call__(self, hidden: Tensor, code0: Tensor, draw: ResidualDraw) -> Tensor:
        self.frames.append(Frame(hidden, code0, draw.sampling))
        return self._draw(hidden, code0, draw)


def spoken_frames(model: Qwen3_5OmniMoeForConditionalGeneration) -> list[Frame]:
    recorder = Recorder(model)
    tokenizer = AutoTokenizer.from_pretrained(ANTIPHON_NANO)
    talker, config = model.talker, model.config
    ids, layout = PromptIds.of(config), PromptLayout.of(config)
    voice = next(one for one in voice_prompts(ANTIPHON_NANO, config, None) if one.voice.default)
    header = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    for seed, sentence in enumerate(SENTENCES):
        with torch.no_grad():
            rows = torch.cat(
                (
                    talker.voice_rows(voice.prompt, layout),
                    talker.text_rows(header),
                    talker.code_rows(layout.before_text(voice.prompt)),
                    talker.text_rows([ids.tts_bos]),
                    talker.code_rows([layout.codec_bos]),
                )
            )
        text = tokenizer.encode(sentence, add_special_tokens=False)
        speak(talker, rows, text, ids.tts_eos, family_sampling(seed), MAX_FRAMES)
    return recorder.frames


@torch.inference_mode()
def main() -> None:
    kind = Qwen3_5OmniMoeForConditionalGeneration
    model = kind.from_pretrained(ANTIPHON_NANO, dtype=torch.float32).eval()
    frames = spoken_frames(model)
    talker = model.config.talker_config
    predictor = CodePredictor(talker.code_predictor_config, talker.text_config.hidden_size)
    predictor.load_weights(model.talker.code_predictor.state_dict().items())
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    predictor.model.register_forward_hook(count)
    groups = talker.num_code_groups
    plain = codes_of(predictor, frames, groups)
    print(f"{len(frames)} frames of {groups - 1} codes; plain: {passes / len(frames):.2f} passes a frame")
    for window in WINDOWS:
        predictor.window, passes = window, 0
        codes = codes_of(predictor, frames, groups)
        different = int((codes != plain).any(dim=1).sum())
        saved = 1 - passes / (len(frames) * (groups - 1))
        each = passes / len(frames)
        print(f"window {window}: {each:.2f} passes a frame, {saved:.1%} saved, {different} frames differ")


def codes_of(predictor: CodePredictor, frames: Sequence[Frame], groups: int) -> Tensor:
    codes = []
    for frame in frames:
        # A method, because the C++ kernel takes the class, and is not speculative.
        draw = ResidualDraw(frame.sampling, groups).__call__
        codes.append(predictor(frame.hidden, frame.code0, draw))
    return torch.cat(codes)


if __name__ == "__main__":
    main()
