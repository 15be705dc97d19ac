"""The Talker: one stream of prompt, text and frame rows in, logits of codes out. Differentiable.

A Qwen3.5 backbone (MoE or dense) with text and codec embeddings, `hidden_projection` for hidden states of the
Thinker, and a code predictor. Assumption: a row's position is its place in the stream, on all three axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5TextModel
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeTextModel

from antiphon_executor.models.aria.chunk_rule import Kind, stream_order
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeTalkerConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout, VoicePrompt
from antiphon_executor.reference.code_predictor import CodePredictor


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One answer to train on. `prompt_rows` [n, hidden]: up to and including codec_bos; `text_ids`:
    including tts_eos; `codes`: int64 [frames, groups].
    """

    prompt_rows: Tensor
    text_ids: Sequence[int]
    codes: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SpokenLogits:
    """The Talker's logits for an utterance: `code0` [frames + 1, codec_vocab], the last row for EOS;
    `residual` [frames, groups - 1, vocab].
    """

    code0: Tensor
    residual: Tensor


class Talker(PreTrainedModel):
    """Parameters: `model` with `embed_tokens` (text) and `codec_embedding`; `codec_head`; the projection;
    `code_predictor`.
    """

    config_class = Qwen3_5OmniMoeTalkerConfig
    _supports_sdpa = True
    # The built-in voices' codes, which `checkpoint.voices` reads.
    _keys_to_ignore_on_load_unexpected = (r"(^|\.)speaker_codec_embeddings$",)

    def __init__(self, config: Qwen3_5OmniMoeTalkerConfig) -> None:
        super().__init__(config)
        text = config.text_config
        dense = isinstance(text, Qwen3_5TextConfig)
        self.model = Qwen3_5TextModel(text) if dense else Qwen3_5MoeTextModel(text)
        self.model.codec_embedding = nn.Embedding(config.codec_vocab_size, text.hidden_size)
        self.codec_head = nn.Linear(text.hidden_size, config.codec_vocab_size, bias=False)
        self.hidden_projection = nn.Linear(config.thinker_hidden_size, text.hidden_size)
        self.code_predictor = CodePredictor(config.code_predictor_config, text.hidden_size)
        self.post_init()

    def text_rows(self, token_ids: Sequence[int] | NDArray | Tensor) -> Tensor:
        """[n] text ids → [n, hidden]."""
        return self.model.embed_tokens(torch.as_tensor(token_ids, dtype=torch.int64, device=self.device))

    def code_rows(self, code0: Sequence[int] | Tensor) -> Tensor:
        """[n] ids of the codec vocabulary → [n, hidden]."""
        return self.model.codec_embedding(torch.as_tensor(code0, dtype=torch.int64, device=self.device))

    def frame_rows(self, codes: Tensor) -> Tensor:
        """[n, groups] codes → [n, hidden], each the sum of its codes' embeddings."""
        rows = self.code_rows(codes[:, 0])
        for group, embedding in enumerate(self.code_predictor.model.codec_embedding, start=1):
            rows = rows + embedding(codes[:, group])
        return rows

    def voice_rows(self, voice: VoicePrompt, layout: PromptLayout | None = None) -> Tensor:
        """The Talker's system prompt: text, reference frames with their marks, text: [n, hidden].

        Without `layout` there are no marks, as in antiphon-nano.
        """
        before, after = layout.frame_marks(voice) if layout is not None else ((), ())
        return torch.cat(
            (
                self.text_rows(voice.opening),
                self.code_rows(before),
                self.frame_rows(torch.as_tensor(voice.codes, device=self.device)),
                self.code_rows(after),
                self.text_rows(voice.closing),
            )
        )

    def conversation_rows(self, token_ids: Tensor, projected: Tensor, accepted: Tensor) -> Tensor:
        """Rows of the tokens that the Talker reads of a Thinker prompt: [n, hidden].

        `token_ids` [n]; `projected`: bool [n], where `accepted` [n, thinker_hidden], the Thinker's hidden
        states, is used.
        """
        return torch.where(projected[:, None], self.hidden_projection(accepted), self.text_rows(token_ids))

    def hidden(self, rows: Tensor) -> Tensor:
        """[streams, n, hidden] rows from each stream's beginning → the same shape, normed.

        Shorter streams are padded at the end, which does not affect earlier rows.
        """
        positions = torch.arange(rows.shape[1], device=rows.device).expand(3, len(rows), -1)
        return self.model(inputs_embeds=rows, position_ids=positions, use_cache=False).last_hidden_state

    def forward(self, utterances: Sequence[Utterance]) -> list[SpokenLogits]:
        """Teacher-forced logits, for training.

        ValueError for an utterance without frames, or whose speech ends before all text has entered.
        """
        streams = [self._stream(utterance) for utterance in utterances]
        states = self.hidden(nn.utils.rnn.pad_sequence([rows for rows, _ in streams], batch_first=True))
        return [
            self._logits(state[: len(rows)], places, utterance.codes)
            for state, (rows, places), utterance in zip(states, streams, utterances, strict=True)
        ]

    def _stream(self, utterance: Utterance) -> tuple[Tensor, Tensor]:
        """An utterance's rows [n, hidden], and the places of its frames among them [frames]."""
        if not len(utterance.codes):
            raise ValueError("an utterance without frames has no codes to predict")
        sizes = self.config.text_tokens_per_chunk, self.config.frames_per_chunk
        order = stream_order(len(utterance.text_ids), len(utterance.codes), *sizes)
        # All text rows, then all frame rows; `picked` brings them into the order of the stream.
        parts = torch.cat((self.text_rows(utterance.text_ids), self.frame_rows(utterance.codes)))
        first = {Kind.TEXT: 0, Kind.FRAME: len(utterance.text_ids)}
        picked = torch.tensor([first[row.kind] + row.index for row in order], device=parts.device)
        places = torch.tensor([i for i, row in enumerate(order) if row.kind is Kind.FRAME], dtype=torch.int64)
        prompt = utterance.prompt_rows
        return torch.cat((prompt, parts[picked])), (len(prompt) + places).to(parts.device)

    def _logits(self, states: Tensor, places: Tensor, codes: Tensor) -> SpokenLogits:
        before = states[places - 1]
        residual = self.code_predictor(before, self.code_rows(codes[:, 0]), codes[:, 1:])
        return SpokenLogits(self.codec_head(torch.cat((before, states[-1:]))), residual)
