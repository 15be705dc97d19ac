"""ARIA without caches, in float32: the reference's Talker computes the whole stream for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import (
    PromptLayout,
    VoicePrompt,
    is_projected,
    kept_tokens,
)
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.speech import speak
from antiphon_executor.reference.talker import Utterance
from antiphon_executor.turn.aria_session import PREDICTOR_TEMPERATURE, PREDICTOR_TOP_P
from antiphon_executor.turn.talker_session import stream_sampling

PAST_ANY_MEDIA = 1 << 20


@dataclass(frozen=True)
class AriaTruth:
    """`codes` int64 [frames, groups]; `wave` float32 [samples], one decode; `ended`: EOS was drawn."""

    prompt: HiddenStates
    text: list[int]
    sampling: SpeechSampling
    codes: NDArray[np.int64]
    wave: NDArray[np.float32]
    ended: bool


class AriaOracle:
    """`voices`: "spoken" has reference frames, "written" has none. `most_media`: rows of a prompt.

    `config`: in place of the folder's, for the layout of the Talker's prompt.
    """

    def __init__(
        self, folder: Path, most_media: int = PAST_ANY_MEDIA, config: Qwen3_5OmniMoeConfig | None = None
    ) -> None:
        self.most_media = most_media
        kind = Qwen3_5OmniMoeForConditionalGeneration
        self.model = kind.from_pretrained(folder, dtype=torch.float32).eval()
        self.layout = PromptLayout.of(config or self.model.config)
        self.ids = PromptIds.of(self.model.config)
        start, groups = self.ids.im_start, self.model.config.talker_config.num_code_groups
        codes = np.random.default_rng(0).integers(0, 256, (5, groups))
        self.voices = {
            "spoken": VoicePrompt((start, 31, 40), codes, (41, 42)),
            "written": VoicePrompt((start, 31), codes[:0], (42,)),
        }

    def speak(self, prompt: HiddenStates, text: Sequence[int], sampling: SpeechSampling) -> AriaTruth:
        """`sampling` with a seed, unless it is greedy."""
        drawing = stream_sampling(
            sampling, predictor_temperature=PREDICTOR_TEMPERATURE, predictor_top_p=PREDICTOR_TOP_P
        )
        rows = self._rows(prompt, self.voices[sampling.voice])
        said = speak(self.model.talker, rows, text, self.ids.tts_eos, drawing, sampling.max_frames)
        return AriaTruth(
            prompt, list(text), sampling, said.codes.numpy(), self.one_shot(said.codes.numpy()), said.ended
        )

    @torch.no_grad()
    def one_shot(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """The decode of [frames, groups], all at once."""
        return self.model.waveform(torch.from_numpy(codes.astype(np.int64))).numpy()

    @torch.no_grad()
    def regret(
        self, prompt: HiddenStates, text: Sequence[int], sampling: SpeechSampling, codes: NDArray[np.int16]
    ) -> NDArray[np.float32]:
        """How much better the best code was than the one said, in standard deviations of the logits.

        `codes`, said greedily: [frames, groups] → the same shape; 0 if the best was chosen.
        """
        config = self.model.config.talker_config
        said = torch.from_numpy(codes.astype(np.int64))
        rows = self._rows(prompt, self.voices[sampling.voice])
        (judged,) = self.model.talker([Utterance(rows, [*text, self.ids.tts_eos], said)])
        drawable = config.codec_vocab_size - config.suppressed_codes
        code0 = judged.code0[:-1, :drawable]
        every = [(code0, said[:, 0])]
        every += [(judged.residual[:, group], said[:, group + 1]) for group in range(said.shape[1] - 1)]
        lost = [
            (logits.max(-1).values - logits.gather(1, chosen[:, None])[:, 0]) / logits.std(-1)
            for logits, chosen in every
        ]
        return torch.stack(lost, dim=1).numpy()

    def projected(self, token_ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Of which tokens of a prompt the Talker reads the Thinker's hidden states."""
        return is_projected(token_ids, self.ids, projects_text=self.layout.projects_text)

    @torch.no_grad()
    def _rows(self, prompt: HiddenStates, voice: VoicePrompt) -> torch.Tensor:
        talker = self.model.talker
        ids = np.frombuffer(prompt.prompt_token_ids, np.int32)
        kept = kept_tokens(ids, self.ids, self.most_media)
        tokens = torch.from_numpy(ids[kept].astype(np.int64))
        projected = torch.from_numpy(self.projected(ids)[kept])
        accepted = torch.zeros(len(kept), talker.config.thinker_hidden_size)
        if projected.any():
            given = np.frombuffer(prompt.rows, np.float32).reshape(-1, accepted.shape[1])
            accepted[projected] = torch.from_numpy(given.copy())
        return torch.cat(
            (
                talker.voice_rows(voice, self.layout),
                talker.conversation_rows(tokens, projected, accepted),
                talker.code_rows(self.layout.before_text(voice)),
                talker.text_rows([self.ids.tts_bos]),
                talker.code_rows([talker.config.codec_bos_id]),
            )
        )


def heard_prompt(oracle: AriaOracle, media: int, words: int, seed: int) -> HiddenStates:
    """A user turn of `media` tokens of sound with random rows, and random words; an open assistant turn."""
    rng = np.random.default_rng(seed)
    ids, hidden = oracle.ids, oracle.model.config.talker_config.thinker_hidden_size
    low = oracle.model.config.talker_config.text_config.vocab_size // 2
    said = rng.integers(20, low, words)
    turn = [ids.im_start, ids.user, *[ids.audio] * media, *said, ids.im_start, ids.assistant, 21]
    tokens = np.array(turn, np.int32)
    index = np.flatnonzero(oracle.projected(tokens)).astype(np.int32)
    rows = rng.standard_normal((len(index), hidden), dtype=np.float32)
    positions = np.tile(np.arange(len(tokens), dtype=np.int32), (3, 1))
    return HiddenStates(
        "rig", tokens.tobytes(), positions.tobytes(), index.tobytes(), rows.tobytes(), hidden, "float32"
    )
