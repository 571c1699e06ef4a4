"""TIFF files that Pillow opens but misreads: put right where that is simple, refused by name where not."""

from PIL import ImagePalette
from PIL.TiffImagePlugin import TiffImageFile

from thawline.data.transform import UnusablePictureError

_BITS, _PHOTOMETRIC, _BYTE_COUNTS, _PLANES, _PALETTE, _INKS, _FORMAT = 258, 262, 279, 284, 320, 332, 339
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED, _SEPARATE, _OTHER_INKS = 0, 1, 2, 2, 2
_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
"""What Pillow calls big-endian values, and what they are once libtiff has decompressed them."""


def put_right(picture: TiffImageFile) -> None:
    """Change how a picture that is not loaded yet will be read, where Pillow would read something else.

    Raises `UnusablePictureError` for samples of more than 8 bits, alpha or CIELab in separate planes, for
    YCbCr that is subsampled without being compressed, and for inks that are not CMYK.
    """
    tags = picture.tag_v2
    planes = tags.get(_PLANES) == _SEPARATE and len(picture.getbands()) > 1
    if planes and (picture.mode not in ("RGB", "RGBA", "CMYK") or max(tags.get(_BITS, (8,))) > 8):
        raise UnusablePictureError(
            f"a TIFF with its {picture.mode} samples in separate planes cannot be read"
        )
    stored = sum(tags.get(_BYTE_COUNTS, ()))
    if picture.mode == "YCbCr" and stored < 3 * picture.width * picture.height:
        raise UnusablePictureError("a TIFF with subsampled YCbCr that is not compressed cannot be read")
    if picture.mode == "CMYK" and tags.get(_INKS) == _OTHER_INKS:
        raise UnusablePictureError("a TIFF with other inks than CMYK cannot be read")
    for place, tile in enumerate(picture.tile):
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple) and tile.args[0] in _NATIVE:
            picture.tile[place] = tile._replace(args=(_NATIVE[tile.args[0]], *tile.args[1:]))
    colours = tags.get(_PALETTE, ())
    if picture.mode in ("P", "PA") and max(colours) < 256:
        # Not as the specification says, which has 16 bits, but as many programs wrote it.
        picture.palette = ImagePalette.raw("RGB;L", bytes(colours))


def is_signed(picture: TiffImageFile) -> bool:
    """Return whether what Pillow shows as values from 0 to 255 are values from -128 to 127."""
    return picture.mode == "L" and picture.tag_v2.get(_FORMAT) == (_SIGNED,)


def is_unsigned(picture: TiffImageFile) -> bool:
    """Return whether what Pillow shows as values from -2**31 to 2**31 - 1 are values from 0 to 2**32 - 1."""
    return picture.mode == "I" and picture.tag_v2.get(_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,)


def white_is_zero(picture: TiffImageFile) -> bool:
    """Return whether the lowest value is white (Pillow turns such pictures of up to 8 bits round itself)."""
    return picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
