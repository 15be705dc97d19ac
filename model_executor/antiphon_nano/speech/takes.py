"""Many streams spoken at once: the same prompt, one text each, codes of group 0 drawn by chance.

In: the Talker, its prompt's rows, texts. Out: `Take`s. The order of rows is the served one, the draw a plain
one: a take is there to be listened to and learned from, not to equal what a server would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from antiphon_executor.reference.talker import Talker


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """`text`: token ids, tts_eos last; `codes`: int64 [frames, groups]; `ended`: EOS was drawn."""

    text: tuple[int, ...]
    codes: Tensor
    ended: bool


@torch.no_grad()
def takes(
    talker: Talker, prompt: Tensor, texts: Sequence[tuple[int, ...]], temperature: float, most_frames: int
) -> list[Take]:
    """`prompt` [n, hidden], codec_bos last; `texts`: each with tts_eos at its end. Group 0 is drawn at
    `temperature` from torch's global source of chance, the other groups greedily.
    """
    streams = [_Stream(talker, text) for text in texts]
    cache = DynamicCache(config=talker.config.text_config)
    rows, at = prompt.expand(len(texts), -1, -1), 0
    while True:
        positions = torch.arange(at, at + rows.shape[1], device=rows.device).expand(3, len(texts), -1)
        output = talker.model(
            inputs_embeds=rows, position_ids=positions, past_key_values=cache, use_cache=True
        )
        at += rows.shape[1]
        rows = _next_rows(talker, streams, output.last_hidden_state[:, -1], temperature, most_frames)
        if all(stream.over for stream in streams):
            return [stream.take() for stream in streams]


class _Stream:
    """What has entered one stream: `text` tokens and frames of `codes`."""

    def __init__(self, talker: Talker, text: tuple[int, ...]) -> None:
        config = talker.config
        self._sizes = config.text_tokens_per_chunk, config.frames_per_chunk
        self.text, self.entered, self.codes = text, 0, list[Tensor]()
        self.ended = self.over = False

    @property
    def last_chunk(self) -> bool:
        return self.entered == len(self.text)

    @property
    def wants_text(self) -> bool:
        """Its next row is a text token: frames may follow whole chunks of text alone."""
        text_size, frame_size = self._sizes
        chunk = -(-self.entered // text_size)
        return not self.last_chunk and (
            self.entered % text_size != 0 or len(self.codes) == chunk * frame_size
        )

    def take(self) -> Take:
        return Take(self.text, torch.stack(self.codes), self.ended)


def allowed(talker: Talker, last_chunk: Tensor) -> Tensor:
    """Bool [n, codec_vocab]: what may be drawn as code 0; EOS only where `last_chunk` [n] is true."""
    config = talker.config
    mask = torch.ones(len(last_chunk), config.codec_vocab_size, dtype=torch.bool, device=last_chunk.device)
    mask[:, -config.suppressed_codes :] = False
    mask[:, config.codec_eos_token_id] = last_chunk
    return mask


def _next_rows(
    talker: Talker, streams: Sequence[_Stream], states: Tensor, temperature: float, most_frames: int
) -> Tensor:
    """[streams, 1, hidden]; of a stream that is over, whatever: nobody reads it."""
    rows = torch.zeros_like(states)
    reading = [place for place, stream in enumerate(streams) if stream.wants_text]
    for place in reading:
        rows[place] = talker.text_rows([streams[place].text[streams[place].entered]])[0]
        streams[place].entered += 1
    speaking = [p for p, stream in enumerate(streams) if not stream.over and p not in set(reading)]
    if speaking:
        last = torch.tensor([streams[place].last_chunk for place in speaking], device=states.device)
        logits = talker.codec_head(states[speaking]).float() / temperature
        shares = logits.masked_fill(~allowed(talker, last), -torch.inf).softmax(-1)
        code0 = torch.multinomial(shares, 1)[:, 0]
        known = code0.clamp(max=talker.code_predictor.lm_head[0].out_features - 1)
        rest = _residual(talker, states[speaking], talker.code_rows(known))
        codes = torch.cat((known[:, None], rest), 1)
        frames = talker.frame_rows(codes)
        for number, place in enumerate(speaking):
            stream = streams[place]
            if int(code0[number]) == talker.config.codec_eos_token_id:
                stream.ended = stream.over = True
                continue
            stream.codes.append(codes[number])
            rows[place] = frames[number]
            stream.over = len(stream.codes) == most_frames
    return rows[:, None]


def _residual(talker: Talker, states: Tensor, code0_rows: Tensor) -> Tensor:
    """The other groups [n, groups - 1], greedily: as `CodePredictor.draw`, but each row runs once."""
    predictor = talker.code_predictor
    cache = DynamicCache(config=predictor.model.config)
    rows, codes = torch.stack((states, code0_rows.to(states.dtype)), 1), list[Tensor]()
    for group, head in enumerate(predictor.lm_head):
        inputs = predictor.small_to_mtp_projection(rows)
        output = predictor.model(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
        codes.append(head(output.last_hidden_state[:, -1]).argmax(-1))
        if group < len(predictor.lm_head) - 1:
            rows = predictor.model.codec_embedding[group](codes[-1])[:, None]
    return torch.stack(codes, 1)
