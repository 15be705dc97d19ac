"""Frames of a video or of a window of one → patches of pixel values, by the checkpoint's video processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BaseVideoProcessor
from transformers.image_utils import SizeDict


def video_pixels(
    processor: BaseVideoProcessor,
    frames: NDArray[np.uint8],
    whole_size: tuple[int, int] | None,
    **options: Any,
) -> Any:
    """`frames`: uint8 [n, height, width, 3]. `whole_size`: (height, width) to which a video is resized of
    which they are a part.

    The processor chooses a size by the number of frames, so a window is resized to the whole video's before.
    """
    if whole_size is None:
        return processor(
            videos=[frames],
            do_sample_frames=False,
            input_data_format="channels_last",
            return_tensors="pt",
            **options,
        )
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)
    if frames.shape[1:3] != whole_size:
        resized = SizeDict(height=whole_size[0], width=whole_size[1])
        video = BaseVideoProcessor.resize(processor, video, resized, processor.resample)
    return processor(
        videos=[video.contiguous()],
        do_sample_frames=False,
        do_resize=False,
        input_data_format="channels_first",
        return_tensors="pt",
        **options,
    )
