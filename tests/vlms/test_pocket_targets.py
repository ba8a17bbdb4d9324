"""The students' targets: the labels of the whole pipeline, in scenes without a background."""

from pathlib import Path

import numpy as np
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.testing.fake_vlm import FAKE_PRESET


def test_targets_are_the_pipelines_labels_and_a_part_lies_on_its_thing(training, tmp_path):
    targets, samples = training("targets"), training("samples")
    pixels = np.zeros((96, 192, 3), np.uint8)
    pixels[:, 16:64, 0], pixels[:, 112:176, 1] = 255, 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    teacher = Segmenter.from_pretrained(FAKE_PRESET, policy="oracle")

    masks = targets.pipeline_masks(
        teacher, samples.Photo(0, tmp_path / "x.png"), ["red", "green", "reddish red"], [True, True, False]
    )

    assert masks.shape == (3, targets.GRID, targets.GRID)
    red, green, part = masks
    assert red[:, 3:7].min() > 0.9  # of 24 columns the red ones are 2 to 7, the green ones 14 to 21
    assert green[:, 15:21].min() > 0.9
    assert (red * green).max() == 0
    assert (red + green)[:, 10:12].max() == 0
    assert part[:, 3:7].min() > 0.9
    assert part[:, 15:21].max() == 0


def test_in_scenes_whose_tags_are_complete_every_patch_has_a_name(training, tmp_path, monkeypatch):
    targets, samples = training("targets"), training("samples")
    pixels = np.zeros((96, 192, 3), np.uint8)
    pixels[:, :96, 0], pixels[:, 112:, 1] = 255, 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    teacher = Segmenter.from_pretrained(FAKE_PRESET, policy="oracle", refine="none")
    monkeypatch.setattr(targets, "teacher_of", lambda _: teacher)
    targets.teacher_of_scenes.cache_clear()

    least = {}
    for source in ("nyuv2", "voc2012"):
        photo = samples.Photo(0, tmp_path / "x.png", complete=source)
        out = tmp_path / f"{source}.npz"
        targets._write_part((out, Path(), [(photo, [0, 1], ["red", "green"], [True, True])]))
        least[source] = np.load(out)["maps"].astype(int).sum(axis=0).min()

    assert least["nyuv2"] >= 254
    assert least["voc2012"] == 0
