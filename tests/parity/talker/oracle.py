"""The whole model as transformers runs it, in float32 and greedy: text, codes and waveform of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.interface.media import Media
from tests.parity.thinker.conversations import Conversation, user
from tests.parity.thinker.oracle import Oracle


@dataclass(frozen=True)
class SpokenTruth:
    """`text`: ids that are spoken; `codes` int64 [frames, groups]; `wave` float32 [samples], one decode."""

    prompt: list[int]
    text: list[int]
    codes: NDArray[np.int64]
    wave: NDArray[np.float32]


class SpeakingOracle:
    """Shares the Thinker's oracle. `generate` never sees an end of the text, so lengths are chosen here."""

    def __init__(self, oracle: Oracle, model: Qwen3OmniMoeForConditionalGeneration) -> None:
        self.oracle = oracle
        self.model = model
        # The oracle's own Thinker, which encodes each clip as if it were alone.
        model.thinker = oracle.thinker
        # transformers 5.19's Talker reads this field of a config class that has it not.
        model.talker.config.audio_config = model.config.thinker_config.audio_config

    def speak(
        self,
        conversation: Conversation,
        *,
        text: int,
        frames: int,
        voice: str = "ethan",
        repetition_penalty: float = 1.05,
    ) -> SpokenTruth:
        """`text` ids spoken, at most `frames` frames."""
        inputs: dict[str, Any] = dict(self.oracle.inputs(conversation))
        codes: list[torch.Tensor] = []
        decode = self.model.code2wav.chunked_decode
        self.model.code2wav.chunked_decode = lambda given, **_: (
            codes.append(given) or self.model.code2wav(given)
        )
        try:
            sequences, wave = self.model.generate(
                **inputs,
                speaker=voice,
                thinker_max_new_tokens=text + 1,
                thinker_eos_token_id=None,
                thinker_do_sample=False,
                talker_do_sample=False,
                talker_repetition_penalty=repetition_penalty,
                talker_max_new_tokens=frames + 1,
            )
        finally:
            self.model.code2wav.chunked_decode = decode
        prompt = inputs["input_ids"][0].tolist()
        return SpokenTruth(
            prompt=prompt,
            text=sequences[0, len(prompt) : len(prompt) + text].tolist(),
            codes=codes[0][0].T.numpy(),
            wave=wave.flatten().numpy(),
        )

    def one_shot(self, codes: NDArray[np.int16]) -> NDArray[np.float32]:
        """transformers' decode of [frames, groups], all at once."""
        with torch.no_grad():
            return self.model.code2wav(torch.from_numpy(codes.astype(np.int64)).T[None]).flatten().numpy()


def asked(text: str) -> Conversation:
    return Conversation(text, user(text), Media())
