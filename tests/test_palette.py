import numpy as np
import pytest

from pnp_ovss.pictures.palette import MAX_CLASSES, VOID_COLOUR, paint, palette


@pytest.mark.parametrize("classes", [0, 1, 7, 8, 80, 171, 256, 300])
def test_a_palette_has_a_black_background_and_distinct_colours(classes):
    colours = palette(classes)
    assert colours.shape == (classes + 1, 3)
    assert colours.dtype == np.uint8
    assert colours[0].tolist() == [0, 0, 0]
    assert len({*map(tuple, colours.tolist()), VOID_COLOUR}) == classes + 2


def test_a_short_palette_is_the_beginning_of_a_long_one():
    longest = palette(MAX_CLASSES)
    for classes in (3, 20, 171, 256, 257):
        assert np.array_equal(palette(classes), longest[: classes + 1])


def test_the_caller_may_change_its_palette():
    palette(20)[5] = 0
    assert palette(20)[5].any()


def test_beyond_the_last_colour_they_begin_anew():
    many = palette(MAX_CLASSES + 2)

    assert many.shape == (MAX_CLASSES + 3, 3)
    assert np.array_equal(many[: MAX_CLASSES + 1], palette(MAX_CLASSES))
    assert np.array_equal(many[MAX_CLASSES + 1 :], many[1:3])


def test_an_impossible_number_of_classes_is_an_error():
    with pytest.raises(ValueError, match="palette of -1 classes"):
        palette(-1)


def test_paint_takes_any_integer_type_and_marks_unknown_labels_as_void():
    labels = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    picture = paint(labels, classes=2)
    assert picture.shape == (2, 2, 3)
    assert np.array_equal(picture[1, 0], palette(2)[2])
    assert tuple(picture[1, 1].tolist()) == VOID_COLOUR
    assert np.array_equal(paint(labels.astype(np.int32), classes=2), picture)
