"""Text → token ids by the checkpoint's `tokenizer.json`; control tokens only where the template put them.

In: a rendered prompt; a mark follows each character of a user that could begin a control token.
Out: ids. Every added token counts as a control token, special or not. No transformers, no torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from antiphon_server.errors import BadRequest

# Unicode's composed forms (NFC) are at most three times shorter in UTF-8 than what they are made of.
_NFC_SHRINKS = 3
# Up to this many bytes a token, encoding all of a text costs little more than finding it too long.
_SHORT_TOKEN_BYTES = 4
_PIECE_CHARS = 16_384
# Text cut into pieces has a few tokens more than the whole.
_CUT_SHARE = 1.1


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a rendered prompt: one control token by `control_id`, or plain text."""

    text: str
    control_id: int | None


class PromptTokenizer:
    """Two views of one vocabulary: with its control tokens, and without any."""

    def __init__(self, definition: str) -> None:
        self._full = Tokenizer.from_str(definition)
        tree = json.loads(definition)
        tree["added_tokens"] = []
        tree["post_processor"] = None
        self._plain = Tokenizer.from_str(json.dumps(tree))
        self.controls: dict[str, int] = {
            token.content: token_id for token_id, token in self._full.get_added_tokens_decoder().items()
        }
        self._control_ids = frozenset(self.controls.values())
        self._longest_bytes = _longest_token_bytes(self._full, tree["normalizer"])
        self._normalizes = tree["normalizer"] is not None
        longest_first = sorted(self.controls, key=len, reverse=True)
        self._control = re.compile("|".join(re.escape(text) for text in longest_first) or r"(?!)")
        self._starts = sorted({text[0] for text in self.controls})

    @classmethod
    def from_folder(cls, folder: Path) -> PromptTokenizer:
        """Raises OSError where the checkpoint has no `tokenizer.json`."""
        return cls((folder / "tokenizer.json").read_text(encoding="utf-8"))

    def mark_starts(self, text: str, mark: str) -> str:
        """`text` with `mark` behind every character that begins some control token, so that none can form."""
        # One pass a character, in C: a regular expression that matches often holds up all other threads.
        for start in self._starts:
            text = text.replace(start, start + mark)
        return text

    def mark_controls(self, text: str, mark: str) -> str:
        """`text` with `mark` behind the first character of every whole control token in it."""
        return self._control.sub(lambda match: match.group()[0] + mark + match.group()[1:], text)

    def encode(self, marked: str, mark: str) -> list[int]:
        """Ids of a marked rendering: what the whole text would give, if users could not write control tokens.

        Raises BadRequest where the vocabulary itself would turn plain text into a control token.
        """
        stretches = self._split(marked, mark)
        wanted = [s.control_id for s in stretches if s.control_id is not None]
        [ids] = _encode(self._full, [marked.replace(mark, "")])
        if [i for i in ids if i in self._control_ids] == wanted:
            return ids
        return self._encode_apart(stretches)

    def at_least(self, text: str, most: int) -> int:
        """How many tokens `text` has at least, without encoding more of it than tells that `most` is passed.

        First by its length alone: no token is longer than the vocabulary's longest. Then piece by piece.
        """
        size = len(text.encode())
        by_length = 0
        if self._longest_bytes is not None:
            shrinks = _NFC_SHRINKS if self._normalizes and not text.isascii() else 1
            by_length = size // (self._longest_bytes * shrinks)
        if by_length > most or size <= most * _SHORT_TOKEN_BYTES:
            return by_length
        counted = 0
        for start in range(0, len(text), _PIECE_CHARS):
            [ids] = _encode(self._plain, [text[start : start + _PIECE_CHARS]])
            counted += len(ids)
            if counted > most * _CUT_SHARE:
                break
        return max(by_length, int(counted / _CUT_SHARE))

    def _encode_apart(self, stretches: list[Stretch]) -> list[int]:
        """Control tokens by their ids, and all text between them without any."""
        texts = iter(_encode(self._plain, [s.text for s in stretches if s.control_id is None]))
        ids: list[int] = []
        for stretch in stretches:
            text_ids = next(texts) if stretch.control_id is None else []
            if not self._control_ids.isdisjoint(text_ids):
                raise BadRequest("The text spells a control token of the model.", param="messages")
            ids += text_ids if stretch.control_id is None else [stretch.control_id]
        return ids

    def _split(self, marked: str, mark: str) -> list[Stretch]:
        stretches, end = [], 0
        for match in self._control.finditer(marked):
            stretches.append(Stretch(marked[end : match.start()].replace(mark, ""), None))
            stretches.append(Stretch(match.group(), self.controls[match.group()]))
            end = match.end()
        stretches.append(Stretch(marked[end:].replace(mark, ""), None))
        return [stretch for stretch in stretches if stretch.text]


def _longest_token_bytes(tokenizer: Tokenizer, normalizer: dict[str, Any] | None) -> int | None:
    """None unless the vocabulary spells every byte, with nothing before it that shortens text but NFC."""
    vocabulary = tokenizer.get_vocab()
    if not vocabulary.keys() >= set(pre_tokenizers.ByteLevel.alphabet()):
        return None
    if normalizer is not None and normalizer["type"] != "NFC":
        return None
    # In a byte-level vocabulary a character stands for a byte; control tokens stand there as they are.
    return max(len(token.encode()) for token in vocabulary)


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ids of each text. The batch call, unlike the single one, lets other threads run meanwhile."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
