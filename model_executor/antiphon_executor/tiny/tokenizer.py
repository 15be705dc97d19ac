"""The tokenizer of the tiny checkpoints: Qwen's byte-level BPE with a vocabulary of a few hundred tokens.

It is trained on a fixed corpus and has all added tokens of the released model, in their order.
"""

from __future__ import annotations

import json

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

VOCABULARY = 480

# The added tokens of Qwen3-Omni-30B-A3B-Instruct, ids 151643 to 151675.
CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>",
    "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>", "<|audio_start|>",
    "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>",
    "<|audio_pad|>",
)  # fmt: skip

# Added tokens that remain when text is decoded without special tokens.
VISIBLE_TOKENS = frozenset(
    ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
) | {token for token in CONTROL_TOKENS if token.startswith(("<|fim_", "<|repo_", "<|file_"))}

NAMED_TOKENS = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}

_ROLES = "system\nuser\nassistant\n"
_WORDS = """\
hello world yes no please thank you what who where when why how is are was the a an and or but not
in on at to of for with from it this that there here I we they he she can will do say see hear
listen speak answer question picture sound voice video music one two three four five six seven eight
nine ten red green blue black white big small good bad new old time day night man woman child dog
cat bird house street water light tell me about describe sing name arguments function call tools
"""


def tiny_tokenizer() -> Qwen2Tokenizer:
    """A tokenizer of `VOCABULARY` byte-level BPE tokens, followed by the added tokens."""
    vocabulary, merges = _train()
    vocabulary |= {token: VOCABULARY + index for index, token in enumerate(CONTROL_TOKENS)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        unk_token=None,
        model_max_length=65_536,
        **NAMED_TOKENS,
    )
    tokenizer.add_tokens(
        [AddedToken(token, special=token not in VISIBLE_TOKENS, normalized=False) for token in CONTROL_TOKENS]
    )
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
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    # Repeated more often, each role becomes one token at the start of a line, which the Talker requires.
    tokenizer.train_from_iterator([_ROLES] * 20 + [_WORDS] * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
