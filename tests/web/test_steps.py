"""The page without a browser: steps, views and the desk behind the button."""

import html
import os
import time

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError, ConfigError, ImageError
from pnp_ovss.pictures.palette import palette
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.web.desk import KEPT_S, Desk, forget
from pnp_ovss.web.steps import segment_in_steps
from pnp_ovss.web.views import annotations, class_table, message, seen_picture, step_caption
from tests.near import same_labels
from tests.scenes import faint_objects, two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="pamr", drops=3)


def steps_of(config, names="red, green, blue"):
    said = []
    segmenter = Segmenter(FakeVLM(), config)
    result, steps, _ = segment_in_steps(segmenter, faint_objects(), names, image_id="x.png", report=said.append)
    return result, steps, said


def test_every_step_of_the_method_has_its_masks():
    _, steps, said = steps_of(CONFIG)
    assert [s.name for s in steps] == ["attention", "GradCAM", "drop 1", "drop 2", "drop 3", "blur", "refiner pamr"]
    assert said[:2] == ["looked at 100 % of the patches", "looked at 50 % of the patches"]
    assert said[-1] == "refining with pamr"
    shares = [round(float(step.seen.mean()), 4) for step in steps[:5]]
    assert shares == [1, 1, 0.5, 0.25, 0.125]


def test_the_result_is_the_plain_segmenters():
    result, steps, _ = steps_of(CONFIG)
    plain = Segmenter(FakeVLM(), CONFIG)(faint_objects(), "red, green, blue", image_name="x.png")
    same_labels(result.labels, plain.labels)
    same_labels(steps[-1].labels, plain.labels)
    unrefined = Segmenter(FakeVLM(), CONFIG.replace(refine="none"))(faint_objects(), "red, green, blue")
    same_labels(steps[-2].labels, unrefined.labels)


def test_a_pass_is_what_fewer_drops_give():
    _, steps, _ = steps_of(CONFIG)
    for drops, step in enumerate(steps[1:5]):
        fewer = CONFIG.replace(drops=drops, blur=0.0, refine="none")
        same_labels(step.labels, Segmenter(FakeVLM(), fewer)(faint_objects(), "red, green, blue").labels)
    assert len({step.labels.tobytes() for step in steps}) == len(steps)


def test_attention_is_the_run_without_gradient():
    _, steps, _ = steps_of(CONFIG)
    plain = CONFIG.replace(gradient="none", drops=0, blur=0.0, refine="none")
    same_labels(steps[0].labels, Segmenter(FakeVLM(), plain)(faint_objects(), "red, green, blue").labels)


def test_completion_and_competition_are_steps():
    config = CONFIG.replace(completion="affinity", competition="equal_mass", threshold=0.3, drops=1)
    _, steps, _ = steps_of(config)
    assert [s.name for s in steps] == ["attention", "GradCAM", "drop 1", "completion", "blur", "refiner pamr"]
    whole = Segmenter(FakeVLM(), config.replace(refine="none"))
    image, names = faint_objects(), "red, green, blue"
    same_labels(steps[4].labels, whole(image, names).labels)
    same_labels(steps[3].labels, whole.replace(competition="overlay", blur=0.0)(image, names).labels)
    plain = whole.replace(competition="overlay", completion="none", blur=0.0)
    same_labels(steps[2].labels, plain(image, names).labels)


def test_without_a_refiner_the_blur_is_last():
    assert steps_of(CONFIG.replace(refine="none"))[1][-1].name == "blur"


def test_nothing_found_is_one_step():
    _, steps, _ = steps_of(CONFIG, "green, yellow")
    assert [step.name for step in steps] == ["result"]
    assert not steps[0].labels.any()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "two squares.png"
    Image.fromarray(two_squares()).save(path)
    return str(path)


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "kept").mkdir()
    loaded = []

    def load(name):
        loaded.append(name)
        return Segmenter(FakeVLM(), CONFIG)

    desk = Desk(load, tmp_path / "kept")
    desk.loaded = loaded
    return desk


def test_views_of_a_step(desk, photo):
    shown = desk.segment(photo, "red, green, blue", "m", {})
    masks, colours = annotations(shown, shown.steps[-1], ["blue"])
    assert len(masks) == 1
    opacity, caption = masks[0]
    assert caption.startswith("blue ")
    assert colours == {caption: "#" + palette(3)[3].tobytes().hex()}
    assert (opacity > 0).sum() == (shown.steps[-1].labels == 3).sum()
    assert set(np.unique(opacity)) == {0.0, 0.5, 1.0}
    table = class_table(shown, shown.steps[-1])
    assert table.count("<tr>") == 4
    assert table.count("<td>none</td>") == 1
    assert "<td>0.00 &lt; 0.5</td>" in table
    assert step_caption(shown.steps, 1).startswith("<p><b>Step 2 of 7: GradCAM.")


def test_the_page_says_of_each_name_what_the_command_says(desk, photo):
    near = {"match_threshold": 0.9995}
    shown = desk.segment(photo, "red, green, blue", "m", near)
    result = Segmenter(FakeVLM(), CONFIG).replace(**near)(photo, "red, green, blue")
    assert dict(shown.verdicts) == {name: result.verdict(name) for name in ("red", "green", "blue")}
    doubtful = [name for name in result if result.doubts(name)]
    assert doubtful
    table = class_table(shown, shown.steps[-1])
    assert table.count("class='doubt'") == len(doubtful)
    assert all(doubt in html.unescape(table) for name in doubtful for doubt in result.doubts(name))

    stricter = desk.relabel(shown, shown.threshold, 1.0)
    assert stricter.advice.startswith("none of the names was found: the best is")
    assert "class='doubt'" not in class_table(stricter, stricter.steps[-1])


def test_black_patches_are_what_a_pass_did_not_see(desk, photo):
    shown = desk.segment(photo, "red, blue", "m", {})
    pixels = np.asarray(seen_picture(shown, shown.steps[2]))
    assert (pixels == 0).all(axis=2).mean() == pytest.approx(0.5, abs=0.02)
    assert seen_picture(shown, shown.steps[-1]) is None


def test_names_are_text_never_markup(desk, photo):
    shown = desk.segment(photo, "red, <img src=x onerror=alert(1)>", "m", {"policy": "all"})
    assert "<img" not in class_table(shown, shown.steps[-1])
    assert "<b>" not in message("<b>")


def test_files_of_a_result_are_named_like_the_photo_and_removed(desk, photo):
    shown = desk.segment(photo, "red", "m", {})
    assert sorted(p.name for p in shown.folder.iterdir()) == [
        "two squares.json",
        "two squares.labels.png",
        "two squares.overlay.png",
    ]
    forget(shown)
    assert not shown.folder.exists()
    forget(shown)
    forget(None)


def test_old_results_are_swept(desk, photo):
    old, new = (desk.segment(photo, "red", "m", {"refine": "none"}).folder for _ in range(2))
    os.utime(old, (time.time() - KEPT_S - 60,) * 2)
    desk.segment(photo, "red", "m", {"refine": "none"})
    assert not old.exists()
    assert new.exists()


def test_settings_of_an_order_reach_the_method_and_only_it(desk, photo):
    shown = desk.segment(photo, "red", "m", {"drops": 1, "refine": "none"})
    assert [step.name for step in shown.steps] == ["attention", "GradCAM", "drop 1", "blur"]
    assert len(desk.segment(photo, "red", "m", {}).steps) == 7


def test_two_models_are_kept(desk, photo):
    for name in ("a", "b", "a", "c", "a", "b"):
        desk.segment(photo, "red", name, {})
    assert desk.loaded == ["a", "b", "c", "b"]


def test_lines_and_commas_separate_names(desk, photo):
    assert desk.segment(photo, "red\ntraffic light, blue,\n", "m", {}).class_names == (
        "red",
        "traffic light",
        "blue",
    )


def test_what_cannot_be_done_is_said(desk, photo, tmp_path):
    with pytest.raises(ImageError, match="there is no photo yet"):
        desk.segment(None, "red", "m", {})
    with pytest.raises(ClassNameError, match="no class names were given"):
        desk.segment(photo, " ,\n", "m", {})
    with pytest.raises(ClassNameError, match="201 classes were given; this page takes 200"):
        desk.segment(photo, ",".join(f"c{i}" for i in range(201)), "m", {})
    with pytest.raises(ConfigError, match="size 100 is not a multiple of 8"):
        desk.segment(photo, "red", "m", {"size_px": 100})
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ImageError, match=r"^broken\.png is not an image"):
        desk.segment(str(tmp_path / "broken.png"), "red", "m", {})
    assert not any((tmp_path / "kept").iterdir())
