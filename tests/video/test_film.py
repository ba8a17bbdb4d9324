"""Films: smoothed over time, begun anew at cuts, gone on with after a stop. The film is made here."""

import struct

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.classes import parse_classes
from pnp_ovss.errors import ImageError, OutputError
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.video.smoothing import Smoother
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none", drops=0)
NAMES = parse_classes("red, blue")


@pytest.fixture
def segmenter():
    return Segmenter(FakeVLM(), CONFIG)


def test_a_flicker_is_smoothed_and_a_cut_is_not(segmenter):
    seen = segmenter(two_squares(), NAMES)
    flicker = two_squares()
    flicker[48:80] = 127  # the blue square is gone for a frame
    gone = segmenter(flicker, NAMES)
    smoother = Smoother(0.6)
    np.testing.assert_array_equal(smoother.labels(seen), seen.labels)
    assert (smoother.labels(gone) == 2).any()
    assert not gone["blue"].any()
    assert not (Smoother(0).labels(gone) == 2).any()
    cut = segmenter(np.full((96, 128, 3), (0, 255, 0), np.uint8), NAMES)
    assert not smoother.labels(cut).any()


@pytest.fixture
def film(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        for shift in range(7):
            frame = av.VideoFrame.from_ndarray(np.roll(two_squares(), shift, axis=1), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_masks_overlay_and_going_on(segmenter, film, tmp_path):
    av = pytest.importorskip("av")
    from pnp_ovss.video.film import FilmConfig, segment_film

    out, said = tmp_path / "out", []
    record = segment_film(segmenter, film, NAMES, out, FilmConfig(every=3), lambda *done: said.append(done))
    assert [path.name for path in sorted((out / "masks").iterdir())] == ["000000.png", "000003.png", "000006.png"]
    first = np.asarray(Image.open(out / "masks/000000.png"))
    assert set(np.unique(first)) == {0, 1, 2}
    assert (record["frames"], said[-1][0]) == (7, 7)
    with av.open(str(out / "overlay.mp4")) as overlay:
        assert len(list(overlay.decode(video=0))) == 7
    encoded = segmenter.vlm.encoded
    (out / "masks/000006.png").unlink()
    segment_film(segmenter, film, NAMES, out, FilmConfig(every=3))
    assert segmenter.vlm.encoded == encoded + 1  # the others were there
    segment_film(segmenter.replace(threshold=0.5), film, NAMES, out, FilmConfig(every=3))
    assert segmenter.vlm.encoded == encoded + 4  # other settings: nothing counts


def test_masks_of_another_film_or_smoothing_are_made_anew_and_changed_ones_refused(segmenter, film, tmp_path):
    pytest.importorskip("av")
    from pnp_ovss.video.film import FilmConfig, segment_film

    out, every = tmp_path / "out", FilmConfig(every=3)
    segment_film(segmenter, film, NAMES, out, every)
    (out / "masks/000003.png").unlink()

    def made(config):
        before = segmenter.vlm.encoded
        segment_film(segmenter, film, NAMES, out, config)
        return segmenter.vlm.encoded - before

    assert made(every) == 1
    assert made(FilmConfig(every=3, smooth=0.2)) == 3
    film.write_bytes(film.read_bytes() + bytes(8))
    assert made(FilmConfig(every=3, smooth=0.2)) == 3
    Image.new("L", (4, 4)).save(out / "masks/000003.png")
    with pytest.raises(OutputError, match="was changed since it was made"):
        made(FilmConfig(every=3, smooth=0.2))


def test_what_is_no_film(segmenter, tmp_path):
    pytest.importorskip("av")
    from pnp_ovss.video.film import FilmConfig, segment_film

    (tmp_path / "no.mp4").write_bytes(b"no film at all" * 100)
    with pytest.raises(ImageError, match="cannot be read as a film"):
        segment_film(segmenter, tmp_path / "no.mp4", NAMES, tmp_path / "out", FilmConfig())


def test_a_stopped_run_with_other_names_leaves_no_mask_of_the_run_before(segmenter, film, tmp_path):
    from pnp_ovss.video.film import FilmConfig, segment_film

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    out, alone = FilmConfig(smooth=0), FilmConfig(smooth=0, every=3)
    folder = tmp_path / "out"
    segment_film(segmenter, film, parse_classes("red"), folder, out)
    with pytest.raises(KeyboardInterrupt):
        segment_film(segmenter, film, parse_classes("blue"), folder, out, stop)
    assert not (folder / "film.json").exists()
    again = segment_film(segmenter, film, parse_classes("blue"), folder, out)
    assert again["shares"] == segment_film(segmenter, film, parse_classes("blue"), tmp_path / "fresh", out)["shares"]

    segment_film(segmenter, film, parse_classes("blue"), folder, alone)
    assert [path.name for path in sorted((folder / "masks").iterdir())] == ["000000.png", "000003.png", "000006.png"]


def test_a_film_of_a_telephone_held_upright_is_segmented_upright(segmenter, film, tmp_path):
    from pnp_ovss.video.film import FilmConfig, frames_of, segment_film

    data = bytearray(film.read_bytes())
    matrix = data.index(b"tkhd") + 44  # of the track: ISO 14496-12, version 0
    quarter = [0, 65536, 0, -65536, 0, 0, 96 * 65536, 0, 1 << 30]  # clockwise
    data[matrix : matrix + 36] = struct.pack(">9i", *quarter)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)

    plain, upright = (next(frames_of(path))[1] for path in (film, turned))
    np.testing.assert_array_equal(upright, np.rot90(plain, -1))
    segment_film(segmenter, turned, NAMES, tmp_path / "out", FilmConfig(every=7))
    with Image.open(tmp_path / "out/masks/000000.png") as mask:
        assert mask.size == (96, 128)


def test_neither_the_film_nor_files_of_others_are_replaced(segmenter, film, tmp_path):
    from pnp_ovss.video.film import FilmConfig, segment_film

    own = film.rename(tmp_path / "overlay.mp4")
    before = own.read_bytes()
    with pytest.raises(OutputError, match="the film that is read"):
        segment_film(segmenter, own, NAMES, tmp_path, FilmConfig(every=7))
    assert own.read_bytes() == before

    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks/000003.png").write_bytes(b"drawn by hand")
    with pytest.raises(OutputError, match=r"000003.png is there and was not made by a run"):
        segment_film(segmenter, own, NAMES, out, FilmConfig(every=3))
    assert (out / "masks/000003.png").read_bytes() == b"drawn by hand"
    assert not (out / "overlay.mp4").exists()
