"""Test program: loads an image several times and prints the counted and the used memory as JSON.

Arguments: a file, and the number of loads.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from antiphon_executor.interface.media_geometry import MediaGeometry, PerFrameBounds, PixelBounds
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.server.media.media_samples import part

NANO_GEOMETRY = MediaGeometry(PixelBounds(32, 9_216, 36_864), PerFrameBounds(PixelBounds(32, 9_216, 16_384)))


async def weigh(data: bytes, times: int) -> dict[str, int]:
    sources = [part("image", data, index=index) for index in range(times)]
    loader = MediaLoader(MediaPolicy(decode_queue_s=300, request_bytes=(times + 1) * len(data)))
    loader.set_geometry(NANO_GEOMETRY)
    await loader.start()
    counted: list[int] = []
    process = psutil.Process()
    try:
        await loader.load(sources[:1])
        before = process.memory_info().rss
        media = await loader.load(sources, counted.append)
        grown = process.memory_info().rss - before
    finally:
        await loader.close()
    return {
        "counted_bytes": sum(counted),
        "pixel_bytes": sum(shown.pixels.nbytes for shown in media.images),
        "grown_bytes": grown,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(weigh(Path(sys.argv[1]).read_bytes(), int(sys.argv[2])))))
