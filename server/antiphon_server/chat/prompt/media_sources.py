"""The media sources of a message's parts, with the options of the part or, without its own, of the request.

Pure: nothing is fetched or decoded here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antiphon_server.errors import NotFound
from antiphon_server.media.source import MediaKind, MediaSource, StoredBytes
from antiphon_server.openai_api.base import PixelOptions
from antiphon_server.openai_api.messages import (
    AudioUrlPart,
    FileId,
    FilePart,
    ImageLocation,
    ImagePart,
    InputAudio,
    InputAudioPart,
    TextPart,
    ToolMessage,
    UrlLocation,
    UserMessage,
    UserPart,
    VideoFramesPart,
    VideoUrlPart,
)
from antiphon_server.openai_api.options import ProcessorOptions

# The client's file of an id, and its kind for a part of type "file". Raises NotFound with the given `param`.
FindFile = Callable[[str, str], tuple[StoredBytes, MediaKind]]


def find_no_file(file_id: str, param: str) -> tuple[StoredBytes, MediaKind]:
    """A `FindFile` without files."""
    raise NotFound("this server stores no files", param=param, code="file_not_found")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part's bytes are: in the request, at a URL, or in a stored file."""

    locations: tuple[str, ...] = ()
    stored: StoredBytes | None = None


def read_sources(
    message: UserMessage | ToolMessage, param: str, options: ProcessorOptions, find_file: FindFile
) -> list[MediaSource]:
    """One source for each media part. Raises NotFound for a file that the client does not have."""
    if isinstance(message.content, str):
        return []
    sources = (
        _read_source(part, f"{param}.content[{number}]", options, find_file)
        for number, part in enumerate(message.content)
    )
    return [source for source in sources if source is not None]


def _read_source(
    part: UserPart, param: str, options: ProcessorOptions, find_file: FindFile
) -> MediaSource | None:
    match part:
        case ImagePart():
            return _image_source(_place(part.image_url, param, find_file), part, param, options)
        case InputAudioPart() | AudioUrlPart():
            given = part.input_audio if isinstance(part, InputAudioPart) else part.audio_url
            return _audio_source(_place(given, param, find_file), param)
        case VideoUrlPart():
            return _video_source(_place(part.video_url, param, find_file), part, param, options)
        case VideoFramesPart():
            return _video_source(_Place(part.video), part, param, options)
        case FilePart():
            return _file_source(part, param, options, find_file)
        case TextPart():
            return None


def _place(
    given: ImageLocation | InputAudio | UrlLocation | FileId, param: str, find_file: FindFile
) -> _Place:
    match given:
        case FileId():
            return _Place(stored=find_file(given.file_id, param)[0])
        case InputAudio():
            return _Place((given.data,))
        case _:
            return _Place((given.url,))


def _file_source(part: FilePart, param: str, options: ProcessorOptions, find_file: FindFile) -> MediaSource:
    stored, kind = find_file(part.file.file_id, param)
    place = _Place(stored=stored)
    match kind:
        case "audio":
            return _audio_source(place, param)
        case "image":
            return _image_source(place, options, param, options)
        case "video":
            return _video_source(place, options, param, options)


def _audio_source(place: _Place, param: str) -> MediaSource:
    return MediaSource("audio", place.locations, param, stored=place.stored)


def _image_source(place: _Place, part: PixelOptions, param: str, options: ProcessorOptions) -> MediaSource:
    low, high = _pixel_bounds(part, options)
    return MediaSource("image", place.locations, param, min_pixels=low, max_pixels=high, stored=place.stored)


def _video_source(
    place: _Place,
    part: VideoUrlPart | VideoFramesPart | ProcessorOptions,
    param: str,
    options: ProcessorOptions,
) -> MediaSource:
    hears = options.use_audio_in_video if part.use_audio_in_video is None else part.use_audio_in_video
    low, high = _pixel_bounds(part, options)
    fps, frames = _frame_rate(part, options)
    return MediaSource(
        "video",
        place.locations,
        param,
        is_frame_list=isinstance(part, VideoFramesPart),
        use_audio=hears is not False,
        fps=fps,
        min_pixels=low,
        max_pixels=high,
        total_pixels=part.total_pixels or options.total_pixels,
        max_frames=None if isinstance(part, ProcessorOptions) else part.max_frames,
        frames=frames,
        stored=place.stored,
    )


def _frame_rate(
    part: VideoUrlPart | VideoFramesPart | ProcessorOptions, options: ProcessorOptions
) -> tuple[float | None, int | None]:
    """A part's own `fps` or `nframes` replaces both of the request's. A list of frames has its own number."""
    if isinstance(part, VideoFramesPart):
        return part.fps or options.fps, None
    owner = options if part.fps is None and part.nframes is None else part
    return owner.fps, owner.nframes


def _pixel_bounds(part: PixelOptions, options: ProcessorOptions) -> tuple[int | None, int | None]:
    """A part's own bounds replace both of the request's: one of each could contradict the other."""
    owner: PixelOptions = options if part.min_pixels is None and part.max_pixels is None else part
    return owner.min_pixels, owner.max_pixels
