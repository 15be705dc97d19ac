"""The tokenizer of antiphon-nano: Qwen's byte-level BPE, trained until every word of the domain is one token.

It has the family's added tokens after the BPE vocabulary, and the chat template of the tiny checkpoints. It
is deterministic.
"""

from __future__ import annotations

import json

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from antiphon_executor.tiny.tokenizer import CONTROL_TOKENS, NAMED_TOKENS, VISIBLE_TOKENS
from antiphon_nano.domain import words

CONTEXT = 262_144
_ROLES = ("system\n", "user\n", "assistant\n")
_PIECES = (
    *words.PUNCTUATION,
    "\n",
    "\n\n",
    "?\n",
    ".\n",
    *"0123456789",
    "+",
    "-",
    "=",
    " +",
    " -",
    " =",
    " x",
)
_LARGEST = 4096
"""Upper bound of the BPE vocabulary. Training ends before it, when every form is one token."""


def forms() -> list[str]:
    """The words as they are written: inside a sentence, at the start of a text, and after a colon or full
    stop.
    """
    inside = [f" {word}" for word in words.WORDS]
    opening = [word[0].upper() + word[1:] for word in words.WORDS]
    later = [f" {word[0].upper()}{word[1:]}" for word in words.WORDS]
    return list(dict.fromkeys((*inside, " I", *opening, *later)))


def nano_tokenizer() -> Qwen2Tokenizer:
    """Some 2,700 tokens. Each of `forms`, and each punctuation mark, digit and role name, is one of them."""
    vocabulary, merges = _train()
    first = len(vocabulary)
    vocabulary |= {token: first + index for index, token in enumerate(CONTROL_TOKENS)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        unk_token=None,
        model_max_length=CONTEXT,
        **NAMED_TOKENS,
    )
    added = [AddedToken(t, special=t not in VISIBLE_TOKENS, normalized=False) for t in CONTROL_TOKENS]
    tokenizer.add_tokens(added)
    return tokenizer


def _train() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_LARGEST, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*forms(), *_ROLES, *_PIECES], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
