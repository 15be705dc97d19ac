"""Words that the Talker has hardly heard in one of their forms: they sound as in the form that it knows.

In: how often each token was spoken in training; the Talker. Out: the same Talker, its text rows changed.
"Walk" at a sentence's beginning is another token than " walk" inside of one, and sounds alike. What was never
spoken in any form gets the row of nothing, behind which the Talker has learned too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import torch
from transformers import Qwen2Tokenizer

from antiphon_executor.reference.talker import Talker
from antiphon_nano.speech.recordings import Recordings

LEAST = 4
"""Times spoken in the recordings, each of which is learned from some ten times."""
_PROMPT = (
    "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_end|><|vision_start|>"
    "<|vision_end|><|im_start|>assistant\n<tts_text_bos><tts_text_eod>"
)
"""What stands in the lessons' prompts, without being spoken."""


def spoken_tokens(recordings: Recordings, tokenizer: Qwen2Tokenizer) -> Counter[int]:
    """How often each token of the recordings' texts is spoken."""
    texts = Counter(recordings.utterance(index).text for index in range(len(recordings)))
    counts: Counter[int] = Counter()
    for text, times in texts.items():
        for token in tokenizer.encode(text):
            counts[token] += times
    return counts


@torch.no_grad()
def lend_rows(talker: Talker, tokenizer: Qwen2Tokenizer, spoken: Mapping[int, int]) -> int:
    """How many tokens speak by another's row from now on."""
    table = talker.model.embed_tokens.weight
    known = set(tokenizer.encode(_PROMPT))
    lenders = _lenders(tokenizer, spoken)
    lent = 0
    for token in range(len(table)):
        if token in known or spoken.get(token, 0) >= LEAST:
            continue
        lender = lenders.get(_word(tokenizer, token))
        if lender is None:
            table[token] = 0
        else:
            table[token] = table[lender]
            lent += 1
    return lent


def _lenders(tokenizer: Qwen2Tokenizer, spoken: Mapping[int, int]) -> dict[str, int]:
    """Of each word the token of its most spoken form, where that is spoken often enough."""
    forms: dict[str, list[int]] = defaultdict(list)
    for token, times in spoken.items():
        if times >= LEAST:
            forms[_word(tokenizer, token)].append(token)
    return {word: max(tokens, key=lambda token: spoken[token]) for word, tokens in forms.items()}


def _word(tokenizer: Qwen2Tokenizer, token: int) -> str:
    return str(tokenizer.decode([token])).strip().lower()
