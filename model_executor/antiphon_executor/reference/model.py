"""The whole model: Thinker, Talker and Code2Wav, from an expanded prompt to text and a 24 kHz waveform.

One conversation at a time, float32, without caches. Loads and saves with `from_pretrained` and
`save_pretrained`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import (
    PromptLayout,
    VoicePrompt,
    is_projected,
    kept_tokens,
)
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.reference.speech import Speech, speak
from antiphon_executor.reference.talker import Talker
from antiphon_executor.reference.thinker import Thinker, ThinkerPrompt


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """`text_ids` without the end token; `waveform`: float32 [samples] in -1 to 1, 24 kHz."""

    text_ids: list[int]
    speech: Speech
    waveform: Tensor


class Qwen3_5OmniMoeForConditionalGeneration(PreTrainedModel):  # noqa: N801
    """Parameters: `thinker`, `talker`, `code2wav`, as in Qwen3-Omni."""

    config_class = Qwen3_5OmniMoeConfig
    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = Talker._keys_to_ignore_on_load_unexpected

    def __init__(self, config: Qwen3_5OmniMoeConfig) -> None:
        super().__init__(config)
        self.thinker = Thinker(config.thinker_config)
        self.talker = Talker(config.talker_config)
        self.code2wav = Qwen3OmniMoeCode2Wav(config.code2wav_config)
        self.post_init()

    @torch.no_grad()
    def generate(
        self,
        prompt: ThinkerPrompt,
        voice: VoicePrompt,
        sampling: StreamSampling,
        max_tokens: int = 64,
        max_frames: int = 64,
    ) -> Answer:
        """The Thinker's greedy answer and its speech. ValueError if the prompt has no open assistant turn."""
        text = self.thinker.generate(prompt, max_tokens, self.config.im_end_token_id)
        rows = self.talker_rows(prompt, voice)
        speech = speak(self.talker, rows, text, self.config.tts_eos_token_id, sampling, max_frames)
        return Answer(text, speech, self.waveform(speech.codes))

    def talker_rows(self, prompt: ThinkerPrompt, voice: VoicePrompt) -> Tensor:
        """The Talker's prompt [n, hidden]: voice, user segments, assistant header, tts_bos, codec_bos.

        With the layout of public ports, codec ids stand before tts_bos.
        """
        ids, layout = PromptIds.of(self.config), PromptLayout.of(self.config)
        most = self.config.talker_config.max_media_rows
        thinker_ids = prompt.token_ids.cpu().numpy()
        indices = kept_tokens(thinker_ids, ids, most)
        kept = torch.as_tensor(indices, device=self.device)
        projected = is_projected(thinker_ids, ids, projects_text=layout.projects_text)[indices]
        accepted = self.thinker(prompt).layers[self.config.talker_config.accept_hidden_layer][kept]
        return torch.cat(
            (
                self.talker.voice_rows(voice, layout),
                self.talker.conversation_rows(
                    prompt.token_ids[kept], torch.as_tensor(projected, device=self.device), accepted
                ),
                self.talker.code_rows(layout.before_text(voice)),
                self.talker.text_rows([ids.tts_bos]),
                self.talker.code_rows([layout.codec_bos]),
            )
        )

    def waveform(self, codes: Tensor) -> Tensor:
        """[frames, groups] → [samples]; empty for no frames."""
        if not len(codes):
            return torch.zeros(0, device=self.device)
        return self.code2wav(codes.T[None])[0, 0]
