import json

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss.baselines.cam import TagCam, fit_linear, read_tagged
from pnp_ovss.datasets.base import TaggedImage
from pnp_ovss.errors import DatasetError
from pnp_ovss.evaluation.systems import Query
from tests.near import near

CLASSES = (("red", "scarlet"), ("blue",))


def colours(image, side_px):
    """Stands for the trunk: the mean colour of each of 8 x 12 cells, (3, 8, 12) in [0, 1]."""
    cells = image.reshape(8, image.shape[0] // 8, 12, image.shape[1] // 12, 3).mean(axis=(1, 3)) / 255
    return torch.tensor(cells).permute(2, 0, 1).float()


@pytest.fixture
def tagged(tmp_path):
    generator = np.random.default_rng(0)
    photos = []
    for index in range(40):
        image = np.full((32, 48, 3), generator.integers(80, 180), np.uint8)
        names = [name for bit, name in enumerate(("scarlet", "blue", "unicorn")) if index >> bit & 1]
        for column, name in ((0, "scarlet"), (24, "blue")):
            if name in names:
                image[4:28, column + 2 : column + 22] = (255, 0, 0) if name == "scarlet" else (0, 0, 255)
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        photos.append(TaggedImage(tmp_path / f"{index}.png", tuple(names)))
    return photos


def test_the_maps_lie_on_what_the_tags_name(tagged, two_halves):
    image = np.full((32, 48, 3), 127, np.uint8)
    image[:, :12], image[:, 36:] = (255, 0, 0), (0, 0, 255)
    cam = TagCam(colours, tagged, background=True, name="colours")
    labels = cam.answer(Query("a", image, CLASSES, ()))[""].labels
    assert (labels[:, :8] == 1).all()
    assert (labels[:, 40:] == 2).all()
    assert (labels[:, 20:28] == 0).mean() > 0.5
    without = TagCam(colours, tagged, background=False, name="colours")
    assert without.answer(Query("a", image, CLASSES, ()))[""].labels.min() == 1


def test_logistic_regression_against_its_stationary_point():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.1]) + 2
    targets = (inputs @ torch.tensor([[1.0, 0.2, 5.0], [-1.0, 0.1, 0.0]]).T > 1).float()
    weight, bias = fit_linear(inputs, targets)
    shares = (inputs @ weight.T + bias).sigmoid()
    assert torch.allclose(shares.mean(dim=0), targets.mean(dim=0), atol=1e-3)  # the bias is not decayed
    assert ((shares > 0.5) == (targets > 0.5)).float().mean() > 0.97
    again = fit_linear(inputs, targets)
    near(weight, again[0])


def test_tags_are_read_from_json_lines(tmp_path):
    lines = [
        {"image": "a.jpg", "tags": ["cat"], "split": "train"},
        {"image": "b.jpg", "tags": [], "split": "train"},
        {"image": "c.jpg", "tags": ["dog"], "split": "tune"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert read_tagged(path) == [TaggedImage(tmp_path / "images/a.jpg", ("cat",))]
    path.write_text(json.dumps(lines[1]))
    with pytest.raises(DatasetError, match="names no tagged photographs"):
        read_tagged(path)
    path.write_text("[]")
    with pytest.raises(DatasetError, match="cannot read the tags"):
        read_tagged(path)


def test_the_trunk_is_the_pockets(tmp_path, noise):
    (tmp_path / "images").mkdir()
    Image.fromarray(noise).save(tmp_path / "images/a.png")
    smooth = np.tile(np.arange(60, dtype=np.uint8)[None, :, None] * 4, (40, 1, 3))
    Image.fromarray(smooth).save(tmp_path / "images/b.png")
    lines = [{"image": "a.png", "tags": ["cat"]}, {"image": "b.png", "tags": ["dog"]}]
    (tmp_path / "tags.jsonl").write_text("\n".join(map(json.dumps, lines)))
    cam = TagCam.from_spec(tmp_path / "tags.jsonl", background=False)
    classes = (("cat",), ("dog",))
    cat, dog = (cam.answer(Query("", image, classes, ()))[""].labels for image in (noise, smooth))
    assert cat.shape == (40, 60)
    assert (cat == 1).mean() > 0.8 > 0.5 > (dog == 1).mean()
