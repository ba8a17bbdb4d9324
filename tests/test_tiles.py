"""Big photos in windows: what is small is found, no window's border shows, memory does not grow."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.refiners import Evidence, get_refiner
from pnp_ovss.refiners.proposals import peaks
from pnp_ovss.refiners.windowed import Windowed
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.tiles import MOST, _Blend, _Blended, is_large, plan_windows, segment_tiled
from pnp_ovss.trace import Prepared
from pnp_ovss.vlms.base import ImageFeatures
from tests.near import near, same_labels
from tests.scenes import BLUE, GREY, RED

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none", drops=0, blur=0.0)
OURS = CONFIG.replace(competition="equal_mass", accumulate="raw", share_blur=0.0)


def field(height=768, width=1152):
    """Grey with a small red square (it covers 1.6 % of the photo) and a broad blue one."""
    photo = np.full((height, width, 3), GREY, np.uint8)
    photo[96:216, 480:600] = RED
    photo[320:736, 160:992] = BLUE
    return photo


def tiled(photo, names=("red", "blue", "green"), config=OURS, **options):
    return segment_tiled(Segmenter(FakeVLM(), config), photo, list(names), **options)


@pytest.mark.parametrize("config", [OURS, CONFIG], ids=["ours", "paper"])
def test_a_small_thing_is_found_and_a_broad_one_whole(config):
    photo = field()
    alone = Segmenter(FakeVLM(), config)(photo, ["red", "blue", "green"])
    assert not alone["red"].any()  # under 2 % of the photo the fake model does not see it
    found = tiled(photo, config=config)
    for name, colour in (("red", RED), ("blue", BLUE)):
        truth = (photo == colour).all(axis=2)
        assert (found[name] & truth).sum() / (found[name] | truth).sum() > 0.75
    assert not found["green"].any()
    assert found.verdict("green") == "0.00 < 0.5"
    assert found.match_scores["red"] == pytest.approx(1, abs=0.01)
    assert found.labels.shape == photo.shape[:2]
    assert found.provenance.config == config
    assert found.to_dict()["tiles"] == len(plan_windows((768, 1152), 96, 12).windows)
    assert "tiles" not in alone.to_dict()


def test_no_border_of_a_window_shows():
    """Within one broad thing no row or column of pixels differs from its neighbours."""
    photo = np.full((768, 768, 3), BLUE, np.uint8)
    photo[:40] = GREY
    inside = tiled(photo, ["blue"])["blue"][80:]
    assert inside.all()


def test_a_part_cut_out_of_a_larger_photo_gets_the_same_labels():
    photo = field()
    large, part = tiled(photo), tiled(photo[64:, 96:1056])
    cut = large.labels[64:, 96:1056]
    assert (cut == part.labels).mean() > 0.95
    assert set(np.unique(cut)) == set(np.unique(part.labels)) == {0, 1, 2}


def test_maps_fade_where_a_window_no_longer_finds_the_class():
    """Windows side by side of which one finds it and the next does not: over their overlap the map goes down slowly."""
    plan = plan_windows((300, 3000), 336, 24)
    found = [number % 2 == 0 for number in range(len(plan.windows))]
    blend = blended(plan, [torch.ones(1, 24, 24) if each else None for each in found])
    heat = (blend._sum / blend._weight)[0, 0].numpy()
    assert (heat.min(), heat.max()) == (0, 1)
    assert np.abs(np.diff(heat, axis=1)).max() < 0.3  # an overlap has some six cells
    assert blend.scores == [1.0]


NOTHING = ImageFeatures(torch.zeros(0), (1, 0))


def blended(plan, totals, config=OURS, score=1.0):
    """A blend of windows, each with its map of the one class, None where it does not find it."""
    blend = _Blend(SimpleNamespace(config=config, sum_maps=lambda trace: trace.total), plan.size, 1)
    for window, total in zip(plan.windows, totals, strict=True):
        kept = () if total is None else (0,)
        prepared = Prepared(
            image=np.zeros((1, 1, 3), np.uint8), image_name="", classes=(("cat",),), pixels=torch.zeros(0), features=NOTHING,
            kept=kept, names=("cat",)[: len(kept)], groups=((0,),)[: len(kept)], match_scores=(score * len(kept),),
            policy="itm", config=config,
        )  # fmt: skip
        blend.add(SimpleNamespace(prepared=prepared, total=torch.zeros(0, 1, 1) if total is None else total), window)
    return blend


def test_how_often_a_class_is_elsewhere_does_not_count_in_a_window():
    """Its share of its mass is the window's, 1 where it is spread evenly, and so is the weight of its match."""
    plan = plan_windows((300, 3000), 336, 24)
    peak = torch.zeros(1, 24, 24)
    peak[0, 9, 4] = 7.0
    rest = len(plan.windows) - 1
    soft = OURS.replace(soft_presence=True, match_threshold=0.5)
    for others in (None, torch.ones(1, 24, 24)):
        for config, weight in ((OURS, 1), (soft, 0.5)):
            blend = blended(plan, [peak, *[others] * rest], config, score=0.5)
            shares = (blend._sum / blend._weight)[1, 0]
            alone = F.interpolate(peak[None], (shares.shape[0], 24), mode="bilinear")[0, 0]
            near(shares[:, :12], weight * 576 / 7 * alone[:, :12])
    assert float(shares[:, -12:].min()) == pytest.approx(0.5)  # the last window's, spread evenly


def test_shares_decide_between_classes_and_maps_where_any_of_them_is():
    maps = torch.zeros(2, 4, 8)
    maps[:, :, :4] = 1.0
    shares = torch.ones(3, 4, 8)
    shares[2, :2] = 3.0
    labeller = _Blended(Segmenter(FakeVLM(), OURS), OURS, maps, shares)
    scores, rows = labeller.compete(maps, (4, 8), SimpleNamespace(kept=(0, 2)))
    assert rows == (None, 0, 1)
    assert scores.argmax(0)[:2, :3].eq(2).all()
    assert scores.argmax(0)[2:, :3].eq(1).all()
    assert scores.argmax(0)[:, 5:].eq(0).all()


def test_the_refiner_sees_windows():
    class Recorder:
        name, sizes = "recorder", []

        def refine(self, image, scores, evidence=None):
            self.sizes.append(image.shape[:2])
            return scores.clone()

    refiner = Recorder()
    segmenter = Segmenter(FakeVLM(), OURS, refiner=refiner)
    found = segment_tiled(segmenter, field().repeat(2, 0).repeat(2, 1), ["red", "blue"])
    assert list(found) == ["red", "blue"]
    assert max(map(max, refiner.sizes)) <= 1024 + 2 * 160
    assert len(refiner.sizes) == 4


def test_windows_cover_the_photo_and_are_bounded():
    for size in ((1, 1), (100, 50), (1000, 3000), (10_000, 10_000), (300, 9000)):
        plan = plan_windows(size, 448, 28)
        seen, cells = np.zeros(size, bool), np.zeros(plan.size, bool)
        for window in plan.windows:
            seen[window.pixels] = True
            cells[window.cells] = True
            assert all(part.stop - part.start <= 1.1 * plan.side_px for part in window.pixels)
        assert seen.all()
        assert cells.all()
        assert len(plan.windows) <= MOST * MOST
    assert len(plan_windows((448, 448), 448, 28).windows) == 1


def test_names_that_the_caller_lists_and_rivals():
    found = tiled(field(), keep=["red"])
    assert list(found) == ["red"]
    assert found.kept == (1,)
    rival = tiled(field(), ["red"], config=OURS.replace(rivals="blue"))
    same_labels(rival["red"], tiled(field(), ["red", "blue"])["red"])


def test_of_look_alikes_each_window_takes_the_surer():
    """Both words mean the same square; equally sure, the first of them has it in every window."""
    names = ["red", "scarlet red", "blue"]
    assert tiled(field(), names).kept == (1, 2, 3)
    one = tiled(field(), names, config=OURS.replace(look_alikes=0.9))
    assert one.kept == (1, 3)
    same_labels(one["red"], tiled(field(), ["red", "blue"])["red"])


def test_which_photos_are_large():
    assert not is_large((4000, 6000))
    assert is_large((4001, 6000))


@pytest.mark.parametrize("name", ["densecrf", "pamr"])
def test_refining_in_windows_is_refining(name):
    """Away from the photo's far parts, where the margins end, nothing changes but the last digits."""
    rng = np.random.default_rng(0)
    image = np.zeros((300, 420, 3), np.uint8)
    image[100:200, 100:300] = (200, 80, 40)
    image = (image + rng.integers(0, 6, image.shape)).astype(np.uint8)
    inside = torch.from_numpy((image[..., 0] > 100).astype(np.float32)).roll((8, -8), (0, 1))
    scores = torch.stack([1 - 0.6 * inside, 0.6 * inside + 0.2])
    refiner = get_refiner(name)
    whole = refiner.refine(image, scores)
    parts = Windowed(refiner, window_px=128, margin_px=96).refine(image, scores)
    assert (whole.argmax(0) == parts.argmax(0)).float().mean() > 0.995
    assert (whole.argmax(0) != scores.argmax(0)).float().mean() > 0.01


def test_the_command_says_that_it_looks_at_windows(monkeypatch, capsys, tmp_path):
    from PIL import Image

    from pnp_ovss import tiles
    from tests.commands import caller

    Image.fromarray(field()).save(tmp_path / "big.png")
    monkeypatch.setattr(tiles, "AUTO_MEGAPIXELS", 0.5)
    call = caller(monkeypatch, capsys)
    for option, windows in ((None, True), ("--no-tiles", False), ("--tiles", True)):
        options = [option] if option else []
        arguments = [tmp_path / "big.png", "-c", "red", "--out", tmp_path / "out", "--set", "size_px=96"]
        code, _, err = call("segment", *arguments, *options)
        assert code == 0
        assert ("looked at in windows; else --no-tiles" in err) == (option is None)
        assert ('"tiles"' in (tmp_path / "out/big.json").read_text()) == windows


class Notes:
    """A refiner that changes nothing and keeps what it was shown."""

    name = "notes"

    def __init__(self):
        self.shown = []

    def refine(self, image, scores, evidence=None):
        self.shown.append((image, evidence))
        return scores


@pytest.mark.parametrize("cell_px", [10, 40])
def test_a_window_of_the_refiner_sees_its_part_of_the_maps(cell_px):
    """The peak of its maps lies on what the whole photo's peak lies on, whatever the cells are to the windows."""
    image, maps = np.zeros((320, 480, 3), np.uint8), torch.zeros(2, 320 // cell_px, 480 // cell_px)
    maps[1, 120 // cell_px, 360 // cell_px] = 1.0
    image[120 - cell_px // 2 : 120 + 3 * cell_px // 2, 360 - cell_px // 2 : 360 + 3 * cell_px // 2] = 255
    notes = Notes()
    Windowed(notes, window_px=128, margin_px=40).refine(image, torch.rand(2, 320, 480), Evidence(("", "a"), maps))
    found = 0
    for part, evidence in notes.shown:
        assert evidence.names == ("", "a")
        height, width = part.shape[:2]
        assert evidence.maps.shape == (2, max(1, round(height / cell_px)), max(1, round(width / cell_px)))
        assert not evidence.maps[0].any()
        for x, y in peaks(evidence.maps[1], 1) if part.any(axis=2).mean() > 3 * cell_px**2 / part[..., 0].size else []:
            found += 1
            assert part[int(y * height), int(x * width), 0] == 255
    assert found > 0
    assert len(notes.shown) == 12
