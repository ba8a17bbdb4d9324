"""What windows cost and give: memory and seconds of a 100-megapixel photo; a mosaic of 16 photos beside the photos alone.

python benchmarks/tiles.py large               peak memory, seconds and windows of 10000 x 10000 px
python benchmarks/tiles.py mosaic VOC_ROOT     mIoU of 4 x 4 mosaics of train photographs, in windows and as a whole
python benchmarks/tiles.py enlarged VOC_ROOT   mIoU of every 8th train photograph at 1120 px, in windows and as a whole
"""

import resource
import sys
import time

import numpy as np
from machine import measured
from PIL import Image

from pnp_ovss import Segmenter, tiles
from pnp_ovss.datasets import open_dataset
from pnp_ovss.datasets.base import Sample
from pnp_ovss.evaluation.metrics import compute, empty_confusion, update
from pnp_ovss.images import read_image
from pnp_ovss.tiles import segment_tiled

CELL_PX, SIDE, ENLARGED_PX = 448, 4, 1120


def large() -> None:
    """A photo made of scikit-image's astronaut, 10000 x 10000 px."""
    from skimage import data

    photo = np.asarray(Image.fromarray(data.astronaut()).resize((10_000, 10_000)))
    segmenter = Segmenter.from_pretrained("pocket")
    start, cpu = time.perf_counter(), time.process_time()
    result = segment_tiled(segmenter, photo, ["person", "flag", "airplane"])
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(result, f"{result.provenance.tiles} windows, {wall:.0f} s, {cpu:.0f} core s, peak {peak:.2f} GiB")
    print({step: round(s, 1) for step, s in result.seconds.items()})


def mosaic(root: str) -> None:
    """Sixteen photos in one, each 448 x 448 px, against each of them alone at that size."""
    found = open_dataset("voc", root, split="train")
    segmenter = Segmenter.from_pretrained("pocket", refine="none")
    names = list(found.names)
    kinds = ("alone", "windows", "windows on the photographs", "whole")
    counts = {kind: empty_confusion(len(names)) for kind in kinds}
    samples = found.samples[: SIDE * SIDE * 4]
    for first in range(0, len(samples) - SIDE * SIDE + 1, SIDE * SIDE):
        cells = [_cell(sample) for sample in samples[first : first + SIDE * SIDE]]
        photo, truth = (_grid([cell[part] for cell in cells]) for part in (0, 1))
        alone = _grid([segmenter(image, names).labels for image, _ in cells])
        answers = {
            "alone": alone,
            "windows": segment_tiled(segmenter, photo, names).labels,
            "windows on the photographs": _without_overlap(segmenter, photo, names),
            "whole": segmenter(photo, names).labels,
        }
        for kind, labels in answers.items():
            counts[kind] = update(counts[kind], truth, labels)
            print(first, kind, f"mIoU {100 * compute(counts[kind], background=True).miou:.1f}", flush=True)


def _without_overlap(segmenter: Segmenter, photo: np.ndarray, names: list[str]) -> np.ndarray:
    """The labels of windows that end where the photographs do: what is lost then is lost in blending."""
    usual, tiles.OVERLAP = tiles.OVERLAP, 0.0
    try:
        return segment_tiled(segmenter, photo, names).labels
    finally:
        tiles.OVERLAP = usual


def enlarged(root: str) -> None:
    """Photographs whose subject is the whole photo, enlarged: what windows make of them."""
    found = open_dataset("voc", root, split="train")
    segmenter = Segmenter.from_pretrained("pocket", refine="none")
    names, samples = list(found.names), found.samples[2::8]
    counts = {kind: empty_confusion(len(names)) for kind in ("windows", "whole")}
    for sample in samples:
        photo, truth = Image.fromarray(read_image(sample.image)), sample.labels()
        scale = ENLARGED_PX / max(photo.size)
        large = np.asarray(photo.resize((round(photo.width * scale), round(photo.height * scale))))
        answers = {"windows": segment_tiled(segmenter, large, names), "whole": segmenter(large, names)}
        for kind, result in answers.items():
            labels = Image.fromarray(result.labels).resize(photo.size, Image.Resampling.NEAREST)
            counts[kind] = update(counts[kind], truth, np.asarray(labels))
    for kind, confusion in counts.items():
        print(f"{len(samples)} photographs, {kind}: mIoU {100 * compute(confusion, background=True).miou:.1f}")


def _cell(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    image = Image.fromarray(read_image(sample.image)).resize((CELL_PX, CELL_PX))
    labels = Image.fromarray(sample.labels().astype(np.int32)).resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(labels)


def _grid(cells: list[np.ndarray]) -> np.ndarray:
    rows = [np.concatenate(cells[i : i + SIDE], axis=1) for i in range(0, SIDE * SIDE, SIDE)]
    return np.concatenate(rows, axis=0)


if __name__ == "__main__":
    print(measured())
    {"large": large, "mosaic": mosaic, "enlarged": enlarged}[sys.argv[1]](*sys.argv[2:])
