"""The server's own way from a request to what the Thinker computes, over an exported checkpoint, no engine.

In: a `ChatRequest`'s messages, media encoded in them. Out: the expanded prompt, positions, features.
"""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer
from vllm.config.multimodal import MultiModalConfig
from vllm.multimodal.processing import InputProcessingContext

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.processor_geometry import media_geometry_of
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.qwen3_5_omni.media_spans import media_spans
from antiphon_executor.models.qwen3_5_omni.processor import (
    Qwen3_5ThinkerDummyInputs,
    Qwen3_5ThinkerProcessingInfo,
    Qwen3_5ThinkerProcessor,
)
from antiphon_executor.models.qwen3_5_omni.tm_rope import TmRope
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.models.thinker.stored_pixels import PixelReader
from antiphon_executor.reference.thinker import Patches, ThinkerPrompt
from antiphon_server.chat.prompt.conversation import read_conversation
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.media.loader import MediaLoader
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.request import ChatRequest
from tests.server.media.media_samples import ffmpeg

Message = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """`prompt`: what a request's prompt is to the Thinker."""

    config: Any
    renderer: PromptRenderer
    processor: Qwen3_5ThinkerProcessor
    geometry: MediaGeometry
    loader: MediaLoader

    @property
    def ids(self) -> PromptIds:
        return PromptIds.of(self.config)

    async def prompt(self, messages: list[Message]) -> ThinkerPrompt:
        request = ChatRequest.model_validate({"messages": messages})
        conversation = read_conversation(request, lambda _: None, ClientJson(64, 100_000))
        tokens = await self.renderer.render(conversation)
        media = await self.loader.load(conversation.sources)
        given = engine_prompt(OmniRequest("turn", tokens, media), self.ids, self.geometry)
        items = self.processor.info.parse_mm_data(given.get("multi_modal_data", {}))
        processed = self.processor(given["prompt_token_ids"], items, given.get("multi_modal_uuids"))
        return self._read(processed)

    def _read(self, processed: Any) -> ThinkerPrompt:
        ids = np.array(processed["prompt_token_ids"])
        features = sorted(
            (
                SimpleNamespace(modality=kind, mm_position=place, data=item)
                for kind, places in processed["mm_placeholders"].items()
                for place, item in zip(places, processed["mm_kwargs"][kind], strict=True)
            ),
            key=lambda feature: feature.mm_position.offset,
        )
        positions = TmRope(self.config.thinker_config).positions(
            ids, media_spans(features, self.config.thinker_config)
        )
        fields = [{name: value.data for name, value in f.data.items()} for f in features]
        videos = self.processor.info.get_hf_processor().video_processor
        pixels = PixelReader(lambda: videos, torch.float32)
        return ThinkerPrompt(
            torch.from_numpy(ids),
            torch.from_numpy(positions),
            sounds=tuple(mel for item in fields if (mel := _mel(item)) is not None),
            pictures=tuple(
                _patches(i["pixel_values"], i["image_grid_thw"]) for i in fields if "pixel_values" in i
            ),
            videos=tuple(
                _patches(pixels.read(i["pixel_values_videos"], torch.device("cpu")), i["video_grid_thw"])
                for i in fields
                if "pixel_values_videos" in i
            ),
        )


def served(exported: Path, loader: MediaLoader) -> Served:
    config = read_config(exported)
    media = MultiModalConfig(limit_per_prompt=dict.fromkeys(("audio", "image", "video"), 64))
    model_config = SimpleNamespace(
        hf_config=config,
        model=str(exported),
        max_model_len=4096,
        revision=None,
        code_revision=None,
        trust_remote_code=False,
        dtype=torch.float32,
        multimodal_config=media,
        get_multimodal_config=lambda: media,
    )
    tokenizer = AutoTokenizer.from_pretrained(exported)
    info = Qwen3_5ThinkerProcessingInfo(InputProcessingContext(model_config, tokenizer))
    processor = Qwen3_5ThinkerProcessor(info, Qwen3_5ThinkerDummyInputs(info))
    encode = partial(tokenizer.encode, add_special_tokens=False)
    geometry = media_geometry_of(config, info.get_hf_processor(), encode)
    return Served(config, PromptRenderer.from_folder(exported), processor, geometry, loader)


def heard(sound: NDArray[np.float32], rate_hz: int = 24_000) -> Message:
    """A WAV of 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    data = base64.b64encode(out.getvalue()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def shown(pixels: NDArray[np.uint8]) -> Message:
    """A PNG."""
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(pixels)}"}}


def filmed(frames: NDArray[np.uint8], fps: float, sound: Message | None = None) -> Message:
    """A Matroska file without loss, its sound too."""
    files = {f"{number:03}.png": base64.b64decode(_png(frame)) for number, frame in enumerate(frames)}
    inputs = ["-framerate", str(fps), "-i", "%03d.png"]
    if sound is not None:
        files["sound.wav"] = base64.b64decode(sound["input_audio"]["data"])
        inputs += ["-i", "sound.wav", "-c:a", "flac"]
    video = ffmpeg(*inputs, "-c:v", "libx264rgb", "-qp", "0", suffix="mkv", files=files)
    url = f"data:video/x-matroska;base64,{base64.b64encode(video).decode()}"
    return {"type": "video_url", "video_url": {"url": url}, "fps": fps}


def _png(pixels: NDArray[np.uint8]) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _mel(item: dict[str, Any]) -> torch.Tensor | None:
    mel = item.get("input_audio_features", item.get("sound_features"))
    return mel if mel is not None and mel.shape[1] else None


def _patches(pixels: torch.Tensor, grid: torch.Tensor) -> Patches:
    time, height, width = grid.tolist()
    return Patches(pixels, (time, height, width))
