"""Photos as their EXIF orientation says."""

from PIL import ExifTags, Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation; 1 is upright."""


def turn_upright(picture: Image.Image) -> Image.Image:
    """The picture, upright. Its EXIF is only asked for the orientation: the rest may be ill-formed in a photo that is whole."""
    picture.load()  # TIFFs turn themselves
    try:
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever damaged metadata raises
        turn = None
    return picture if turn is None else picture.transpose(turn)
