"""Any mode of a decoded picture to 8 bits sRGB with opacity, by its colour profile where it has one.

Knows Pillow's modes and ICC profiles. Knows no files. A profile that cannot be used is said and ignored: the colours
are then a little off, the picture is not lost.
"""

from __future__ import annotations

import io
import logging

import numpy as np
from PIL import Image, ImageCms

from dreamlift.pipelines.context import RequestError

from .judging import Remark

log = logging.getLogger(__name__)

PROFILED = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "LAB"}  # mode to colour space of profiles that fit it
MOST_PROFILE = 8 << 20  # bytes; a printer's are 2 MiB


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[Remark]]:
    """Convert.

    Args:
        image: Of any mode that Pillow decodes to.
        profile: Its ICC profile, or None.

    Returns:
        Mode "RGBA", and what the artist should know.

    Raises:
        RequestError: "bad_image" of floating-point pixels.
    """
    image, opacity = _colour_and_opacity(image)
    remarks = []
    if profile:
        try:
            image = _by_profile(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, SyntaxError) as error:
            log.info("the colour profile of %d bytes is not used: %s", len(profile), error)
            what = "The picture's colour profile cannot be used; its colours may be a little off."
            remarks.append(Remark("bad_profile", what, "Save it in sRGB if the colours matter."))
    elif image.mode == "CMYK":
        what = "The picture is in printing colours (CMYK) without a profile; its colours are a guess."
        remarks.append(Remark("no_profile", what, "Save it in sRGB if the colours matter."))
    image = image.convert("RGB")
    image.putalpha(opacity or Image.new("L", image.size, 255))
    return image, remarks


def reducible(image: Image.Image) -> Image.Image:
    """The picture in a mode that may be resized: no palette, no 16 bits.

    Args:
        image: As decoded.

    Raises:
        RequestError: "bad_image" of floating-point pixels.
    """
    if image.mode == "F":
        what = "The picture has floating-point pixels (HDR)."
        raise RequestError("bad_image", what, "Save it as PNG with 8 or 16 bits, tone mapped.")
    if image.mode.startswith("I"):
        return _of_16_bits(image)
    if image.mode in ("L", "RGB", "CMYK", "LAB", "RGBA", "LA") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGB" if image.mode == "YCbCr" else "RGBA")


def _of_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits; Pillow's own conversion would clip it to white."""
    numbers = np.asarray(image)
    clear = image.info.get("transparency")
    grey = Image.fromarray(((numbers.astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8))
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(numbers == clear, 0, 255).astype(np.uint8)))
    return grey


def _colour_and_opacity(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    image = reducible(image)
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    return image, None


def _by_profile(image: Image.Image, data: bytes) -> Image.Image:
    if len(data) > MOST_PROFILE:
        raise ValueError(f"{len(data)} bytes are no colour profile")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    if space != PROFILED.get(image.mode):
        if space == "RGB" and image.mode == "L":  # a grey picture of an RGB programme
            image = image.convert("RGB")
        else:
            raise ValueError(f"a profile for {space} does not fit a picture in {image.mode}")
    if "sRGB" in (profile.profile.profile_description or "")[:40] and image.mode == "RGB":
        return image
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
