"""Scaler of decoded video frames to upright RGB rows of one size, by libswscale in a decoder process."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

from av.error import FFmpegError
from av.filter import Graph

from antiphon_server.media.sandbox.job import DecodeRefused, Size

_MATRIX = struct.Struct("=5i")
_SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"

# Signs of a display matrix (x to x, x to y, y to x, y to y) and the filters that apply this rotation.
_ROTATIONS: dict[tuple[int, ...], tuple[tuple[str, str], ...]] = {
    (-1, 0, 0, -1): (("hflip", ""), ("vflip", "")),
    (-1, 0, 0, 1): (("hflip", ""),),
    (1, 0, 0, -1): (("vflip", ""),),
    (0, 1, -1, 0): (("transpose", "clock"),),
    (0, -1, 1, 0): (("transpose", "cclock"),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}
Rotation = tuple[tuple[str, str], ...]


def rotation_of(frame: Any) -> Rotation:
    """The filters that turn a frame upright by its display matrix; none for angles other than 90 degrees."""
    sides = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    if not sides or sides[0].buffer_size < _MATRIX.size:
        return ()
    a, b, _, c, d = _MATRIX.unpack_from(memoryview(sides[0]))
    return _ROTATIONS.get(tuple((value > 0) - (value < 0) for value in (a, b, c, d)), ())


def upright_size(frame: Any, pixel_aspect: Fraction, rotation: Rotation) -> tuple[int, int]:
    """Width and height with square pixels after the rotation."""
    width, height = max(1, round(frame.width * pixel_aspect)), int(frame.height)
    return (height, width) if any(name == "transpose" for name, _ in rotation) else (width, height)


class FrameScaler:
    """Scales the frames of one video. Its filters are created once per frame format."""

    def __init__(self, size: Size, rotation: Rotation) -> None:
        self._size, self._rotation = size, rotation
        self._format: tuple[Any, ...] | None = None
        self._graph: Graph | None = None
        self._source: Any = None
        self._sink: Any = None

    def scale_frame(self, frame: Any) -> bytes:
        """RGB rows. Raises DecodeRefused for a frame that cannot be scaled."""
        frame_format = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        try:
            if frame_format != self._format:
                self._make_graph(frame)
                self._format = frame_format
            self._source.push(frame)
            scaled = self._sink.pull()
        except (FFmpegError, EOFError) as error:
            raise DecodeRefused("damaged") from error
        plane, row_bytes = scaled.planes[0], 3 * self._size.width
        rows = memoryview(plane)
        starts = range(0, self._size.height * plane.line_size, plane.line_size)
        return b"".join(rows[start : start + row_bytes] for start in starts)

    def _make_graph(self, frame: Any) -> None:
        graph = Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base="1/1000",
            pixel_aspect="1/1",
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        nodes = [source, *(graph.add(name, options or None) for name, options in self._rotation)]
        nodes.append(graph.add("scale", f"{self._size.width}:{self._size.height}:{_SCALING}"))
        nodes += [graph.add("format", "rgb24"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        self._graph, self._source, self._sink = graph, source, nodes[-1]
