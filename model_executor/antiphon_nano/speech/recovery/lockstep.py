"""Greedy speech for many texts at once: as `reference.speech.speak` for each, several times as fast.

The texts have equal numbers of tokens, so their streams have the same order of rows and form one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from antiphon_executor.models.aria.chunk_rule import Chunk, chunks
from antiphon_executor.reference.talker import Talker


@torch.no_grad()
def speak_all(
    talker: Talker, prompt_rows: Tensor, texts: Sequence[Sequence[int]], tts_eos: int, most: int
) -> list[Tensor]:
    """`texts`: token ids without tts_eos, all of one length. Returns codes [frames, groups], at most `most`
    frames each.
    """
    streams = _Streams(talker, len(texts), most)
    tracks = [chunks(text, tts_eos, talker.config.text_tokens_per_chunk) for text in texts]
    for number, pieces in enumerate(zip(*tracks, strict=True)):
        rows = talker.text_rows(torch.tensor([piece.text for piece in pieces]))
        if not number:
            rows = torch.cat((prompt_rows.expand(len(texts), -1, -1), rows), 1)
        streams.decode(streams.enter(rows), pieces[0])
    return streams.codes()


class _Streams:
    def __init__(self, talker: Talker, count: int, most: int) -> None:
        self._talker = talker
        self._cache = DynamicCache(config=talker.config.text_config)
        self._rows = 0
        self._most = most
        self._frames: list[Tensor] = []
        self._ends = torch.full((count,), most)

    def enter(self, rows: Tensor) -> Tensor:
        """[streams, n, hidden] to the states after the last row, [streams, hidden]."""
        # Row by row after the prompt: several rows at once would restart the chunks of the delta rule.
        for piece in rows.split(1, 1) if self._rows else [rows]:
            count = piece.shape[1]
            positions = torch.arange(self._rows, self._rows + count).expand(3, len(rows), -1)
            states = self._talker.model(
                inputs_embeds=piece, position_ids=positions, past_key_values=self._cache, use_cache=True
            )
            self._rows += count
        return states.last_hidden_state[:, -1]

    def decode(self, states: Tensor, chunk: Chunk) -> None:
        """The frames of a chunk. After the last chunk: frames until all streams have ended."""
        wanted = self._most if chunk.last else len(self._frames) + self._talker.config.frames_per_chunk
        while len(self._frames) < min(wanted, self._most):
            code0 = self._likeliest(states, chunk.last)
            ended = code0 == self._talker.config.codec_eos_token_id
            self._ends = torch.where(ended, self._ends.clamp(max=len(self._frames)), self._ends)
            if bool((self._ends <= len(self._frames)).all()):
                return
            # `codes` cuts off what an ended stream continues with.
            code0 = code0.masked_fill(ended, 0)
            others = self._talker.code_predictor.draw(
                states, self._talker.code_rows(code0), lambda logits, group: logits.argmax(-1)
            )
            self._frames.append(torch.cat((code0[:, None], others), 1))
            states = self.enter(self._talker.frame_rows(self._frames[-1])[:, None])

    def codes(self) -> list[Tensor]:
        frames = torch.stack(self._frames, 1)
        return [track[: int(end)] for track, end in zip(frames, self._ends, strict=True)]

    def _likeliest(self, states: Tensor, may_end: bool) -> Tensor:
        config = self._talker.config
        logits = self._talker.codec_head(states)
        end = logits[:, config.codec_eos_token_id].clone()
        logits[:, -config.suppressed_codes :] = -torch.inf
        if may_end:
            logits[:, config.codec_eos_token_id] = end
        return logits.argmax(-1)
