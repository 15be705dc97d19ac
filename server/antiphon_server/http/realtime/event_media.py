"""Decodes the media of a client's event: images in the sandbox, large audio in a thread."""

from __future__ import annotations

import asyncio

from antiphon_executor.interface.media import RgbImage
from antiphon_server.chat.service import Service
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.realtime.client_events import (
    AudioAppend,
    ClientEvent,
    ItemCreate,
    ResponseCreate,
)
from antiphon_server.openai_api.realtime.items import ClientItem, InputItem
from antiphon_server.realtime.client_items import NO_MEDIA, EventMedia, decode_sound, image_urls, sounds_in
from antiphon_server.realtime.machine import RealtimeMachine

# Characters of an event. More takes milliseconds to parse and decode, which would block the event loop.
LARGE_EVENT = 32_768


async def event_media(
    event: ClientEvent, machine: RealtimeMachine, service: Service, owner: str
) -> EventMedia:
    """Raises ApiError."""
    match event:
        case AudioAppend():
            if len(event.audio) < LARGE_EVENT:
                return NO_MEDIA
            return EventMedia(sounds=(await asyncio.to_thread(machine.decode, event),))
        case ItemCreate():
            items: tuple[ClientItem | InputItem, ...] = (event.item,)
        case ResponseCreate():
            items = event.response.input or ()
        case _:
            return NO_MEDIA
    urls = [url for item in items for url in image_urls(item)]
    sounds = [encoded for item in items for encoded in sounds_in(item)]
    if not urls and sum(map(len, sounds)) < LARGE_EVENT:
        return NO_MEDIA
    images = await _load_images(urls, machine, service, owner) if urls else ()
    input_format = machine.state.session.audio.input.format
    try:
        samples = [await asyncio.to_thread(decode_sound, one, input_format, "audio") for one in sounds]
    except BadRequest:
        # The machine says in which part.
        samples = []
    return EventMedia(images, samples)


async def _load_images(
    urls: list[str], machine: RealtimeMachine, service: Service, owner: str
) -> tuple[RgbImage, ...]:
    if "image" not in service.engine.card.input_modalities:
        raise BadRequest("This model does not support image input.", param="item")
    sources = [MediaSource("image", (url,), "item") for url in urls]
    held = 0

    def hold(size: int) -> None:
        nonlocal held
        held += size
        machine.check_memory(held)

    media = await service.media.load(sources, hold, owner=owner)
    return media.images
