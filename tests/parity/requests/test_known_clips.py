"""A clip that the engine lacks and that cannot be decoded again, or lost frames, end their own request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from antiphon_executor.interface.errors import EngineError, RequestFailed
from antiphon_executor.interface.media import KnownClip, Media, StoredFrames, VideoClip
from antiphon_executor.interface.request import OmniRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from antiphon_executor.engine.omni_engine import VllmOmniEngine

pytestmark = pytest.mark.engine

PROMPT = "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n<|im_start|>assistant\n"
VIDEO = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"


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


async def test_lost_frames_of_a_video_end_their_own_request(
    engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """Given frames that a cleaner of temporary files has deleted, then the engine goes on with others."""
    here = tmp_path / "here"
    here.write_bytes(bytes(4 * 64 * 96 * 3))
    frames = {name: StoredFrames(tmp_path / name, (4, 64, 96, 3)) for name in ("lost", "here")}
    lost, whole = (
        OmniRequest(name, tuple(tokenizer.encode(VIDEO)), Media(videos=(VideoClip(frames[name], 2.0),)))
        for name in ("lost", "here")
    )
    with pytest.raises(EngineError, match="ended the answer with an error"):
        await read(engine, lost)
    await read(engine, whole)
