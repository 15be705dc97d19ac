"""A clip whose features the engine lacks, and that cannot be decoded again, ends its own request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.media import KnownClip, Media
from antiphon_executor.interface.request import OmniRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from antiphon_executor.engine.omni_engine import VllmOmniEngine

pytestmark = pytest.mark.engine

PROMPT = "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n<|im_start|>assistant\n"


async def test_the_reason_reaches_the_client(
    engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase
) -> None:
    def decode() -> None:
        raise RequestFailed("its audio took longer than 10 s to decode again")

    clip = KnownClip("lost", 16_000, decode)  # type: ignore[arg-type]
    request = OmniRequest("known", tuple(tokenizer.encode(PROMPT)), Media(audios=(clip,)))
    with pytest.raises(RequestFailed, match="took longer than 10 s"):
        await read(engine, request)
    assert engine.card.kept_audio_s > 3_600


async def read(engine: VllmOmniEngine, request: OmniRequest) -> None:
    async with engine.generate(request) as events:
        async for _ in events:
            pass
