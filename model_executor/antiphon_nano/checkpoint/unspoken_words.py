"""Embeddings for words that the Talker was not trained to say in one of their forms.

"Walk" (start of a sentence) and " walk" (inside) are different tokens that sound alike. A form that was
rarely spoken gets the embedding of the other one; a word that was never spoken gets a zero embedding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import torch
from transformers import Qwen2Tokenizer

from antiphon_executor.reference.talker import Talker
from antiphon_nano.speech.recordings import Recordings

LEAST = 4
"""Occurrences in the recordings from which a form counts as trained. Each is trained on some ten times."""
_PROMPT = (
    "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_end|><|vision_start|>"
    "<|vision_end|><|im_start|>assistant\n<tts_text_bos><tts_text_eod>"
)
"""The tokens of the lessons' prompts, which are not spoken."""


def spoken_tokens(recordings: Recordings, tokenizer: Qwen2Tokenizer) -> Counter[int]:
    """How often each token of the recordings' texts is spoken."""
    texts = Counter(recordings.utterance(index).text for index in range(len(recordings)))
    counts: Counter[int] = Counter()
    for text, times in texts.items():
        for token in tokenizer.encode(text):
            counts[token] += times
    return counts


@torch.no_grad()
def borrow_embeddings(talker: Talker, tokenizer: Qwen2Tokenizer, spoken: Mapping[int, int]) -> int:
    """Replaces the embeddings in place. Returns how many tokens got the embedding of another token."""
    table = talker.model.embed_tokens.weight
    known = set(tokenizer.encode(_PROMPT))
    lenders = _donors(tokenizer, spoken)
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


def _donors(tokenizer: Qwen2Tokenizer, spoken: Mapping[int, int]) -> dict[str, int]:
    """For each word, the token of its most spoken form, if that counts as trained."""
    forms: dict[str, list[int]] = defaultdict(list)
    for token, times in spoken.items():
        if times >= LEAST:
            forms[_word(tokenizer, token)].append(token)
    return {word: max(tokens, key=lambda token: spoken[token]) for word, tokens in forms.items()}


def _word(tokenizer: Qwen2Tokenizer, token: int) -> str:
    return str(tokenizer.decode([token])).strip().lower()
