"""What a file is by its first bytes, and what to do about the kinds that are not read.

Knows signatures. A name's ending is never looked at: an artist's "photo.png" may well be a HEIC or a web page.
"""

from __future__ import annotations

READ = "PNG, JPEG, WebP, TIFF, GIF or BMP"
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")  # Pillow's names; no other decoder is ever tried
_CONTAINER = 4  # of ISO media files (HEIC, AVIF, films): the signature follows their first length

_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"8BPS", "a Photoshop file", "Export it as PNG."),
    (b"%PDF", "a PDF", "Export the page as PNG."),
    (b"%!PS", "PostScript", "Export it as PNG."),
    (b"\xff\x0a", "a JPEG XL picture", "Save it as PNG or JPEG."),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", "Save it as PNG or JPEG."),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", "Save it as PNG or JPEG."),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", "Save it as PNG, tone mapped."),
    (b"#?RADIANCE", "a Radiance HDR picture", "Save it as PNG, tone mapped."),
    (b"\0\0\x01\0", "an icon", "Save its largest picture as PNG."),
    (b"gimp xcf", "a GIMP file", "Export it as PNG."),
    (b"PK\x03\x04", "an archive or an office file", "Take the picture out of it and give that."),
    (b"\x1f\x8b", "a compressed file", "Unpack it and give the picture."),
    (b"glTF", "a 3D file", "Give a picture of the object."),
    (b"BLENDER", "a Blender file", "Render it and give the picture."),
    (b"\x1aE\xdf\xa3", "a film", "Save one frame of it as PNG."),
    (b"version https://git-lfs", "a git-lfs pointer", "Fetch the file itself: git lfs pull."),
)
_BRANDS: tuple[tuple[bytes, str, str], ...] = (
    (b"avif", "an AVIF picture", "Open it in a browser or an editor and save it as PNG or JPEG."),
    (b"avis", "an AVIF animation", "Save one frame of it as PNG."),
    (b"heic", "a HEIC photo", "Export it as JPEG; on a phone choose 'Most Compatible' as the camera's format."),
    (b"heix", "a HEIC photo", "Export it as JPEG; on a phone choose 'Most Compatible' as the camera's format."),
    (b"mif1", "a HEIF photo", "Export it as JPEG."),
    (b"msf1", "a HEIF photo", "Export it as JPEG."),
    (b"crx ", "a raw photo", "Develop it and save it as JPEG."),
)


def refused(data: bytes) -> tuple[str, str] | None:
    """What a file is, and what to do, where it is of a kind that is known and not read; None for all others.

    Args:
        data: The file's bytes, or at least its first thousand.
    """
    for start, name, remedy in _REFUSED:
        if data.startswith(start):
            return name, remedy
    if data[_CONTAINER : _CONTAINER + 4] == b"ftyp":
        for brand, name, remedy in _BRANDS:
            if brand in data[8:32]:
                return name, remedy
        return "a film", "Save one frame of it as PNG."
    return _of_text(data[:1024])


def _of_text(start: bytes) -> tuple[str, str] | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text.startswith((b"<", b"{")):
        return None
    if b"<svg" in text:
        return "an SVG drawing", "Export it as PNG, at 1024 pixels or more."
    if b"<html" in text or b"<!doctype html" in text:
        return "a web page", "Save the picture itself: right click on it, Save Image As."
    return "text", f"Give a {READ} picture of one object."
