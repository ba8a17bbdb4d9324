"""The pictures of Fig. 2-4."""

import numpy as np
import pytest

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import OutputError
from pnp_ovss.explain import TILE_PX, explain_photo, save_pictures
from pnp_ovss.outputs import unique_stems
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import faint_objects, two_squares


@pytest.fixture(scope="module")
def pictures():
    config = SegmenterConfig(layer=2, head=2, size_px=96, refine="none", drops=2)
    return explain_photo(Segmenter(FakeVLM(), config), two_squares(), ["red", "green"])


def test_a_picture_of_stages_and_of_passes_for_each_class(pictures):
    assert list(pictures) == ["red", "green"]
    for kinds in pictures.values():
        assert kinds["stages"].width > 4 * TILE_PX
        assert kinds["passes"].width > 4 * TILE_PX  # three passes and the sum
        assert kinds["passes"].height > kinds["stages"].height


def test_without_drops_there_is_no_dropout_among_the_stages(pictures):
    config = SegmenterConfig(layer=2, head=2, size_px=96, refine="none", drops=0)
    found = explain_photo(Segmenter(FakeVLM(), config), two_squares(), ["red"])
    assert found["red"]["stages"].width == pictures["red"]["stages"].width - TILE_PX - 6


def test_gradcam_of_red_is_bright_on_the_red_square_only(pictures):
    stages = np.asarray(pictures["red"]["stages"]).astype(float)
    left = 6 + 2 * (TILE_PX + 6)  # the third tile
    tile = stages[26:, left : left + TILE_PX].sum(axis=2)
    height = round(TILE_PX * 96 / 128)
    on = tile[height // 4 : height * 2 // 5, TILE_PX // 5 : TILE_PX * 2 // 5].mean()
    off = tile[height * 3 // 4 : height * 9 // 10, TILE_PX // 10 : TILE_PX // 3].mean()
    assert on > 2 * off


def test_dropped_patches_are_black(pictures):
    passes = np.asarray(pictures["red"]["passes"])
    second = passes[26 : 26 + 180, 6 + TILE_PX + 6 : 6 + TILE_PX + 6 + TILE_PX]
    assert 0.3 < (second == 0).all(axis=2).mean() < 0.7


def test_long_names_of_photos_and_classes_fit_into_a_file_name(pictures, tmp_path):
    """What `segment` can name, `explain` can."""
    stem = unique_stems([tmp_path / f"{'ñ' * 120}.png"])[0]
    paths = save_pictures({"猫" * 100: pictures["red"], "x" * 300: pictures["green"]}, tmp_path, stem)
    assert all(path.is_file() and len(path.name.encode()) <= 255 for path in paths)


def test_saved_under_safe_names(pictures, tmp_path):
    odd = {"a/b: c?": pictures["red"], "猫": pictures["green"]}
    paths = save_pictures(odd, tmp_path, "photo")
    assert sorted(p.name for p in paths) == sorted(
        [
            "photo.01-a-b-c.stages.png",
            "photo.01-a-b-c.passes.png",
            "photo.02-猫.stages.png",
            "photo.02-猫.passes.png",
        ]
    )
    assert all(p.stat().st_size > 1000 for p in paths)


def test_unwritable(pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_pictures(pictures, tmp_path / "file", "x")


def test_attention_falls_for_the_distractor_gradcam_does_not_and_dropout_uncovers_the_faint():
    config = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")
    stages = np.asarray(explain_photo(Segmenter(FakeVLM(), config), faint_objects(), ["red"])["red"]["stages"])

    def heat(tile, row, column):
        """Brightness of a tile (1 = attention, 2 = GradCAM, 3 = DropOut) in the middle of a patch, 0 at a grey one."""
        left, patch = 6 + tile * (TILE_PX + 6), TILE_PX // 12
        at = lambda r, c: stages[26 + r * patch + patch // 2, left + c * patch + patch // 2].astype(float).sum()  # noqa: E731
        return at(row, column) - at(4, 0)

    bright, distractor, faint = (2, 2), (1, 6), (6, 0)
    assert heat(1, *distractor) > heat(1, *bright) > 0
    assert heat(2, *bright) > 100 > abs(heat(2, *distractor))
    assert heat(2, *faint) < 20
    assert heat(3, *faint) > 100
