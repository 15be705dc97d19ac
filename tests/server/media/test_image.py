"""Pictures come out upright, on white, in RGB, whatever they were stored as."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from antiphon_server.errors import BadRequest
from antiphon_server.media.loader import MediaLoader
from tests.server.media.media_samples import image_file, part, pixels_of

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def flag_picture(mode: str = "RGB") -> Image.Image:
    """64 x 48: left half red, right half blue."""
    image = Image.new("RGB", (64, 48), RED)
    image.paste(BLUE, (32, 0, 64, 48))
    return image.convert(mode)


async def seen(loader: MediaLoader, data: bytes, **options: Any) -> NDArray[np.uint8]:
    (shown,) = (await loader.load([part("image", data, **options)])).images
    assert shown.pixels.dtype == np.uint8
    return shown.pixels


def close(pixel: NDArray[np.uint8], colour: tuple[int, int, int], slack: int = 6) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= slack)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
        ("AVIF", {"quality": 95}),
        ("MPO", {"quality": 95, "subsampling": 0}),
    ],
)
async def test_every_format_shows_the_same_image(
    loader: MediaLoader, form: str, options: dict[str, object]
) -> None:
    pixels = await seen(loader, image_file(flag_picture(), form, **options))
    assert pixels.shape == (48, 64, 3)
    assert close(pixels[24, 8], RED)
    assert close(pixels[24, 56], BLUE)


async def test_a_png_is_shown_to_the_bit(loader: MediaLoader) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))
    assert np.array_equal(await seen(loader, image_file(image, "PNG")), np.asarray(image))


# EXIF orientation → where the left (red) half of the stored picture is seen.
@pytest.mark.parametrize(
    ("orientation", "shape", "red"),
    [(1, (48, 64), (24, 8)), (2, (48, 64), (24, 56)), (3, (48, 64), (24, 56)), (4, (48, 64), (24, 8)),
     (5, (64, 48), (8, 24)), (6, (64, 48), (8, 24)), (7, (64, 48), (56, 24)), (8, (64, 48), (56, 24))],
)  # fmt: skip
async def test_exif_orientation_is_applied(
    loader: MediaLoader, orientation: int, shape: tuple[int, int], red: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = await seen(loader, image_file(flag_picture(), "JPEG", quality=95, exif=exif))
    assert pixels.shape == (*shape, 3)
    assert close(pixels[red], RED, slack=12)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
async def test_transparency_lies_on_white(loader: MediaLoader, form: str) -> None:
    image = flag_picture("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert close((await seen(loader, image_file(image, form, lossless=True)))[24, 8], WHITE)


async def test_a_palette_with_transparency_lies_on_white(loader: MediaLoader) -> None:
    image = flag_picture().quantize(4)
    transparent = image.getpixel((0, 0))
    pixels = await seen(loader, image_file(image, "PNG", transparency=transparent))
    assert close(pixels[24, 8], WHITE)
    assert close(pixels[24, 56], BLUE)


async def test_a_cmyk_jpeg_keeps_its_colours(loader: MediaLoader) -> None:
    pixels = await seen(loader, image_file(flag_picture("CMYK"), "JPEG", quality=95))
    assert close(pixels[24, 8], RED, slack=12)


async def test_a_grey_image_becomes_rgb(loader: MediaLoader) -> None:
    pixels = await seen(loader, image_file(Image.new("L", (40, 40), 77), "PNG"))
    assert np.all(pixels == 77)


async def test_a_16_bit_png_keeps_its_high_byte(loader: MediaLoader) -> None:
    image = Image.fromarray(np.full((40, 40), 128 * 257, dtype=np.uint16))
    assert np.all(await seen(loader, image_file(image, "PNG")) == 128)


async def test_an_animation_shows_its_first_frame(loader: MediaLoader) -> None:
    data = image_file(flag_picture(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48), GREEN)])
    assert close((await seen(loader, data))[24, 8], RED)


@pytest.mark.parametrize(
    ("size", "shape"), [((1, 1), (32, 32, 3)), ((10, 20), (64, 32, 3)), ((3, 90), (960, 32, 3))]
)
async def test_a_tiny_image_is_scaled_up_to_one_patch(
    loader: MediaLoader, size: tuple[int, int], shape: tuple[int, ...]
) -> None:
    assert (await seen(loader, image_file(Image.new("RGB", size, GREEN), "PNG"))).shape == shape


async def test_the_client_can_ask_for_fewer_pixels(loader: MediaLoader) -> None:
    data = image_file(Image.new("RGB", (400, 200), GREEN), "PNG")
    assert (await seen(loader, data, max_pixels=20_000)).shape == (100, 200, 3)


async def test_the_client_can_ask_for_more_pixels(loader: MediaLoader) -> None:
    data = image_file(Image.new("RGB", (100, 50), GREEN), "PNG")
    assert (await seen(loader, data, min_pixels=20_000)).shape == (100, 200, 3)


async def test_a_very_large_image_is_scaled_into_the_limit(loader: MediaLoader) -> None:
    pixels = await seen(loader, image_file(Image.new("RGB", (6_000, 4_000), GREEN), "JPEG"))
    assert pixels.shape[0] * pixels.shape[1] <= loader.policy.image_pixels
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(1.5, rel=1e-3)


async def test_a_sliver_is_refused(loader: MediaLoader) -> None:
    with pytest.raises(
        BadRequest, match=r"image part 1 has 4000 x 8 pixels; limit is 190 times .*aspect-ratio"
    ):
        await seen(loader, image_file(Image.new("RGB", (4_000, 8)), "PNG"))


async def test_a_truncated_image_is_refused(loader: MediaLoader) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(BadRequest, match="image part 1 could not be decoded"):
        await seen(loader, image_file(noise, "PNG")[:2_000])


async def test_another_format_is_refused_by_name(loader: MediaLoader) -> None:
    with pytest.raises(BadRequest, match=r"is a JPEG 2000 image\. Send JPEG, PNG, WebP, GIF"):
        await seen(loader, image_file(flag_picture(), "JPEG2000"))


async def test_a_frame_list_is_a_video_in_the_size_of_its_first_frame(loader: MediaLoader) -> None:
    frames = [
        image_file(Image.new("RGB", (65, 48), RED), "PNG"),
        image_file(Image.new("RGB", (128, 128), BLUE), "PNG"),
        image_file(Image.new("RGB", (64, 48), GREEN), "PNG"),
    ]
    source = part("video", *frames, is_frame_list=True, fps=4.0)
    (clip,) = (await loader.load([source])).videos
    assert clip.frames.shape == (3, 48, 64, 3)
    assert clip.frames_per_second == 4.0
    assert clip.audio is None
    assert [tuple(frame[20, 20]) for frame in pixels_of(clip)] == [RED, BLUE, GREEN]


async def test_too_many_frames_in_a_list_are_refused_before_any_is_decoded(loader: MediaLoader) -> None:
    source = part("video", *["!not base64!"] * 769, is_frame_list=True)
    with pytest.raises(BadRequest, match=r"has 769 frames; limit is 768 frames \(--media-video-frames\)"):
        await loader.load([source])


@pytest.mark.parametrize("fps", [5e-324, 1e-9, 0.001])
async def test_frames_spaced_too_far_apart_are_refused_before_any_is_decoded(
    loader: MediaLoader, fps: float
) -> None:
    source = part("video", *["!not base64!"] * 6, is_frame_list=True, fps=fps)
    with pytest.raises(BadRequest, match=r"lasts .* s at .* limit is 600 s \(--media-video-seconds\)"):
        await loader.load([source])


async def test_a_damaged_frame_of_a_list_is_refused(loader: MediaLoader) -> None:
    frames = [image_file(flag_picture(), "PNG"), b"GIF89a" + bytes(40)]
    with pytest.raises(BadRequest, match="video part 1 could not be decoded"):
        await loader.load([part("video", *frames, is_frame_list=True)])
