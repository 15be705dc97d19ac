"""Tokenizer of prompts, from a `tokenizer.json`, without transformers or torch.

Control tokens come from the template only. A mark follows each character of a client's text that could begin
one. Every added token counts as a control token, special or not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from antiphon_executor.interface.tokenizer_files import tokenizer_file
from antiphon_server.errors import BadRequest

# Unicode's composed forms (NFC) are at most three times shorter in UTF-8 than the decomposed text.
_NFC_SHRINKS = 3
# Up to this many bytes per token, encoding a whole text costs little more than estimating its length.
_SHORT_TOKEN_BYTES = 4
_PIECE_CHARS = 16_384
# Text that is encoded in pieces has slightly more tokens than the whole.
_CUT_SHARE = 1.1


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a rendered prompt: one control token, or plain text if `control_id` is None."""

    text: str
    control_id: int | None


@dataclass(frozen=True, slots=True)
class EncodedText:
    """`ids`: of its tokens. `ends`: for each, the character at which it ends."""

    ids: tuple[int, ...]
    ends: tuple[int, ...]


class PromptTokenizer:
    """One vocabulary, with its control tokens and without them."""

    def __init__(self, definition: str) -> None:
        self._full = Tokenizer.from_str(definition)
        tree = json.loads(definition)
        tree["added_tokens"] = []
        tree["post_processor"] = None
        self._plain = Tokenizer.from_str(json.dumps(tree))
        self.controls: dict[str, int] = {
            token.content: token_id for token_id, token in self._full.get_added_tokens_decoder().items()
        }
        self.size = self._full.get_vocab_size()
        self._control_ids = frozenset(self.controls.values())
        self._longest_bytes = _longest_token_bytes(self._full, tree["normalizer"])
        self._normalizes = tree["normalizer"] is not None
        longest_first = sorted(self.controls, key=len, reverse=True)
        self._control = re.compile("|".join(re.escape(text) for text in longest_first) or r"(?!)")
        self._starts = sorted({text[0] for text in self.controls})

    @classmethod
    def from_folder(cls, folder: Path) -> PromptTokenizer:
        """Raises OSError if the checkpoint has no `tokenizer.json` and none can be built."""
        return cls(tokenizer_file(folder).read_text(encoding="utf-8"))

    def mark_starts(self, text: str, mark: str) -> str:
        """`text` with `mark` after every character that begins a control token, so that none can form."""
        # One pass per character, in C. A regular expression with many matches would block all other threads.
        for start in self._starts:
            text = text.replace(start, start + mark)
        return text

    def mark_controls(self, text: str, mark: str) -> str:
        """`text` with `mark` after the first character of every whole control token in it."""
        return self._control.sub(lambda match: match.group()[0] + mark + match.group()[1:], text)

    def encode(self, marked: str, mark: str) -> list[int]:
        """Token ids of a marked rendering, in which only unmarked text can be a control token.

        Raises BadRequest if the vocabulary itself turns plain text into a control token.
        """
        stretches = self._split(marked, mark)
        wanted = [s.control_id for s in stretches if s.control_id is not None]
        [ids] = _encode(self._full, [marked.replace(mark, "")])
        if [i for i in ids if i in self._control_ids] == wanted:
            return ids
        return self._encode_apart(stretches)

    def encode_raw(self, text: str) -> tuple[int, ...]:
        """Token ids of a text whose control tokens count as such."""
        [ids] = _encode(self._full, [text])
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Raises BadRequest if an id is not in the vocabulary."""
        self.texts_of(ids)
        return self._full.decode(ids, skip_special_tokens=False)

    def without_ends(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Generated tokens without the control tokens that ended them."""
        count = len(ids)
        while count and ids[count - 1] in self._control_ids:
            count -= 1
        return tuple(ids[:count])

    def spells(self, ids: Sequence[int], text: str) -> bool:
        """Whether the tokens are plain text and give `text`."""
        return self._control_ids.isdisjoint(ids) and self._full.decode(ids, skip_special_tokens=False) == text

    def texts_of(self, ids: Sequence[int]) -> list[str]:
        """Each token as the vocabulary writes it. Raises BadRequest if an id is not in the vocabulary."""
        texts = [(one, self._full.id_to_token(one)) for one in ids]
        unknown = next((one for one, text in texts if text is None), None)
        if unknown is not None:
            raise BadRequest(f"The vocabulary has no token {unknown}.", param="tokens")
        return [text for _, text in texts if text is not None]

    def encode_text(self, texts: list[str], param: str) -> list[EncodedText]:
        """Each text by itself, without any control token. Raises BadRequest, naming `param`, as `encode`."""
        encoded = self._plain.encode_batch(texts, add_special_tokens=False)
        for one in encoded:
            self._refuse_controls(one.ids, param)
        return [EncodedText(tuple(one.ids), tuple(end for _, end in one.offsets)) for one in encoded]

    def at_least(self, text: str, most: int) -> int:
        """A lower bound of the tokens of `text`. It encodes no more than shows that the bound exceeds `most`.

        The first bound follows from the length of the vocabulary's longest token, the second from pieces.
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
        """Encodes the text between control tokens without any control token."""
        texts = iter(_encode(self._plain, [s.text for s in stretches if s.control_id is None]))
        ids: list[int] = []
        for stretch in stretches:
            text_ids = next(texts) if stretch.control_id is None else []
            self._refuse_controls(text_ids, "messages")
            ids += text_ids if stretch.control_id is None else [stretch.control_id]
        return ids

    def _refuse_controls(self, ids: list[int], param: str) -> None:
        if not self._control_ids.isdisjoint(ids):
            raise BadRequest("The text contains a control token of the model.", param=param)

    def _split(self, marked: str, mark: str) -> list[Stretch]:
        stretches, end = [], 0
        for match in self._control.finditer(marked):
            stretches.append(Stretch(marked[end : match.start()].replace(mark, ""), None))
            stretches.append(Stretch(match.group(), self.controls[match.group()]))
            end = match.end()
        stretches.append(Stretch(marked[end:].replace(mark, ""), None))
        return [stretch for stretch in stretches if stretch.text]


def _longest_token_bytes(tokenizer: Tokenizer, normalizer: dict[str, Any] | None) -> int | None:
    """None unless the vocabulary has every byte and its only normalizer, if any, is NFC."""
    vocabulary = tokenizer.get_vocab()
    if not vocabulary.keys() >= set(pre_tokenizers.ByteLevel.alphabet()):
        return None
    if normalizer is not None and normalizer["type"] != "NFC":
        return None
    # In a byte-level vocabulary one character is one byte; control tokens are plain text.
    return max(len(token.encode()) for token in vocabulary)


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text. Unlike the single call, the batch call releases the GIL."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
