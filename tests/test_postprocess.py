"""Sum, threshold, resize, blur and background against plain implementations."""

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.postprocess import accumulate, add_background, apply_threshold, comparable, enlarge, merge_synonyms
from pnp_ovss.saliency import minmax
from tests.near import equal, near

CONFIG = SegmenterConfig()


def test_sum_of_passes_each_scaled_per_class():
    passes = torch.tensor([[[[0.0, 2.0]], [[1.0, 3.0]]], [[[4.0, 0.0]], [[0.0, 0.0]]]])
    total = accumulate(passes, CONFIG)
    assert total.tolist() == [[[1.0, 1.0]], [[0.0, 1.0]]]


def test_raw_sum_counts_the_first_pass_as_told():
    passes = torch.tensor([[[[0.0, 2.0]]], [[[3.0, 0.0]]]])
    config = CONFIG.replace(accumulate="raw", first_pass_weight=2.0)
    total = accumulate(passes, config)
    assert total.tolist() == [[[3.0, 4.0]]]  # 2·[0, 2] + [3, 0]
    assert comparable(total, config).tolist() == [[[0.0, 1.0]]]
    plain = accumulate(passes, CONFIG.replace(accumulate="raw", normalise="none"))
    assert plain.tolist() == [[[3.0, 2.0]]]


def test_global_scale_keeps_an_absent_class_low():
    passes = torch.tensor([[[[0.0, 10.0]], [[0.0, 1.0]]]], dtype=torch.float64)
    total = accumulate(passes, CONFIG.replace(normalise="global"))
    equal(total, torch.tensor([[[0.0, 1.0]], [[0.0, 0.1]]], dtype=torch.float64))


def test_thresholds():
    maps = torch.tensor([[[0.0, 0.15, 0.2, 2.0]]], dtype=torch.float64)
    assert apply_threshold(maps, CONFIG).tolist() == [[[0.0, 0.0, 1.0, 1.0]]]
    soft = apply_threshold(maps, CONFIG.replace(thresholding="soft", threshold=0.09))
    equal(soft, torch.tensor([[[0.0, 0.0, 0.1, 1.0]]], dtype=torch.float64))


@pytest.mark.parametrize("resize", ["bilinear", "bilinear-align-corners", "bicubic"])
@pytest.mark.parametrize("blur", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("size", [(37, 53), (60, 41), (1, 30), (5, 5)])
def test_two_matrices_equal_interpolation_and_a_2d_gaussian(resize, blur, size):
    torch.manual_seed(1)
    maps = torch.rand(3, 7, 9, dtype=torch.float64)
    mode = "bicubic" if resize == "bicubic" else "bilinear"
    plain = F.interpolate(maps[None], size=size, mode=mode, align_corners=resize.endswith("corners"))[0]
    if blur:
        plain = torch.stack([torch.from_numpy(gaussian_filter(m.numpy(), blur * max(size))) for m in plain])
    expected = minmax(plain.clamp(min=0), keep_constant=True)
    config = CONFIG.replace(resize=resize, blur=blur)
    equal(enlarge(maps, size, config), expected)
    near(enlarge(maps.float(), size, config), expected.float(), atol=1e-3)  # divided by the map's range


def test_a_mask_over_the_whole_photo_survives():
    assert enlarge(torch.ones(1, 4, 4), (20, 30), CONFIG).min() == 1


def test_complement_background():
    scores = torch.tensor([[[0.2, 1.0]], [[0.3, 0.5]]], dtype=torch.float64)
    channels = add_background(scores, scores, CONFIG)
    equal(channels[0], torch.tensor([[0.5, 0.0]], dtype=torch.float64))
    equal(channels[1:], scores)


def test_other_backgrounds():
    scores = torch.rand(2, 8, 8)
    assert (add_background(scores, scores, CONFIG.replace(background=0.3))[0] == 0.3).all()
    maps = torch.zeros(1, 4, 4)
    maps[0, :, :2] = 1
    sharp = CONFIG.replace(background="zero_max", blur=0.0)
    background = add_background(enlarge(maps, (8, 8), sharp), maps, sharp)[0]
    assert background[:, -1].min() == 1  # no class there
    assert background[:, 0].max() == 0


def test_zero_max_background_is_found_before_the_blur():
    maps = torch.zeros(1, 8, 8)
    maps[0, :, :4] = 1
    config = CONFIG.replace(background="zero_max", blur=0.1)
    channels = add_background(enlarge(maps, (80, 80), config), maps, config)
    resized = F.interpolate(maps[None], size=(80, 80), mode="bilinear")[0, 0]
    expected = torch.from_numpy(gaussian_filter((resized <= 0).float().numpy(), 8.0))
    near(channels[0], minmax(expected[None])[0])


def test_synonyms_merge_by_maximum():
    maps = torch.tensor([[1.0, 5.0], [3.0, 2.0], [0.0, 9.0]])
    assert merge_synonyms(maps, [[0, 1], [2]]).tolist() == [[3.0, 5.0], [0.0, 9.0]]


def test_at_ties_the_surest_name_has_the_pixel_whatever_the_order():
    """As when every mask covers the whole photo."""
    from pnp_ovss.postprocess import argmax_labels

    equal = torch.ones(2, 3, 4)
    for channels, sure in (((1, 2), (0.2, 0.9)), ((2, 1), (0.9, 0.2))):
        assert (argmax_labels(equal, channels, (3, 4), sure) == 2).all()
    assert (argmax_labels(equal, (0, 1), (3, 4), (None, 0.9)) == 0).all()
