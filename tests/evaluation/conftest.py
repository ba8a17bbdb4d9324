"""A synthetic data set of coloured rectangles for the fake model, with answers known in closed form."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.datasets import open_dataset
from pnp_ovss.evaluation.systems import Answer, SegmenterSystem
from pnp_ovss.testing.fake_vlm import COLOURS, FakeVLM
from tests.commands import caller

NAMES = ("red", "green", "blue", "yellow")
HEIGHT, WIDTH = 64, 96
IMAGES = 12


def write_rectangles(root: Path, background: str = "0") -> Path:
    """12 grey pictures, the i-th with the classes i mod 4 (left) and, in every second one, i + 1 mod 4 (right)."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for index in range(IMAGES):
        image = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, columns in ((index % 4, slice(8, 40)), ((index + 1) % 4, slice(56, 88)))[: 1 + index % 2]:
            image[16:48, columns] = (np.array(COLOURS[NAMES[label]]) * 255).astype(np.uint8)
            mask[16:48, columns] = label + 1
        mask[:4] = 255
        Image.fromarray(image).save(root / f"images/{index:02}.png")
        Image.fromarray(mask).save(root / f"masks/{index:02}.png")
    void = "[255]" if background == "0" else "[0, 255]"
    text = f'name = "rectangles"\nimages = "images"\nmasks = "masks"\nclasses = {list(NAMES)}\n'
    values = "" if background == "0" else "values = [1, 2, 3, 4]\n"
    (root / "dataset.toml").write_text(f"{text}background = {background}\nvoid = {void}\n{values}")
    return root


@pytest.fixture
def rectangles(tmp_path):
    return open_dataset("folder", write_rectangles(tmp_path / "rectangles"))


@pytest.fixture
def stuff(tmp_path):
    """The same without a background: grey is void."""
    return open_dataset("folder", write_rectangles(tmp_path / "stuff", '"none"'))


@pytest.fixture
def fake_system():
    """Makes the Segmenter on the fake model with some settings changed."""

    def make(**settings) -> SegmenterSystem:
        base = {"layer": 2, "head": 2, "size_px": 96, "refine": "none", "blur": 0.02}
        return SegmenterSystem(Segmenter(FakeVLM(), SegmenterConfig(**(base | settings))))

    return make


class Painter:
    """Answers with a stated share of each image's ground truth, read from the masks; a system with known scores."""

    def __init__(self, dataset, wrong: tuple[str, ...] = (), model: str = "painter") -> None:
        self.truths = {sample.id: sample.labels() for sample in dataset}
        self.wrong = wrong
        self.model = model
        self.asked: list[str] = []

    def settings(self):
        return {"model": self.model, "policy": "all", "wrong": list(self.wrong)}

    def answer(self, query):
        self.asked.append(query.id)
        truth = self.truths[query.id].copy()
        truth[truth > len(query.classes)] = 0
        return {"": Answer(np.zeros_like(truth) if query.id in self.wrong else truth)}


@pytest.fixture
def painter():
    return Painter


@pytest.fixture
def records(tmp_path):
    return tmp_path / "out/report.images.jsonl"


@pytest.fixture
def call(monkeypatch, capsys):
    """call(*arguments) -> (exit code, standard output, standard error); a wide screen, so that nothing wraps."""

    monkeypatch.setenv("COLUMNS", "200")
    return caller(monkeypatch, capsys)


@pytest.fixture
def root(rectangles):
    return rectangles[0].image.parents[1]
