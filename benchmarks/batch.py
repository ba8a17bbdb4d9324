"""Photos a second of the batch engine against the plain loop: 1 and 2 workers, one thread each, in one run.

python benchmarks/batch.py [--model pocket] [--photos 40] [--side 320] [--refine densecrf] [--engine local] [--json FILE]

The photos are scikit-image's, scaled to --side px. Start-up (processes, imports, weights) is measured apart: rates count
from the first finished photo of each way to its last. The engine's overhead a photo is the time from row to row of one
worker less the time inside the segmenter, so that it holds on a busy machine too; the rates do not: they need two free
cores. Last line: `ratio 2 workers X of 1, overhead Y s a photo`.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
from machine import measured
from PIL import Image

CLASSES = (("cat",), ("person",), ("cup",), ("motorcycle",), ("rocket",), ("dog",))
SOURCES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


@dataclass
class Way:
    """One way's result. start_s: until the first photo was done; inside_s: mean time in the segmenter a photo."""

    way: str
    photos_per_s: float
    start_s: float
    inside_s: float
    outside_s: float | None


def make_photos(folder: Path, count: int, side_px: int) -> list[Path]:
    """`count` photos of at most side_px, in turns of the sources."""
    import skimage

    paths = []
    for i in range(count):
        source = Path(skimage.__file__).parent / "data" / SOURCES[i % len(SOURCES)]
        paths.append(folder / f"{i:04}.png")
        with Image.open(source) as picture:
            picture.thumbnail((side_px, side_px))
            picture.convert("RGB").save(paths[-1])
    return paths


def plain_loop(photos: list[Path], model: str, refine: str) -> Way:
    """One process, one model, one photo after the other, nothing written."""
    start = time.perf_counter()
    import torch

    from pnp_ovss import Segmenter
    from pnp_ovss.images import read_image

    torch.set_num_threads(1)
    segmenter = Segmenter.from_pretrained(model, refine=refine)
    marks = []
    for photo in photos:
        segmenter(read_image(photo), CLASSES)
        marks.append(time.perf_counter())
    each = (marks[-1] - marks[0]) / (len(photos) - 1)
    return Way("plain loop", 1 / each, marks[0] - start, each, None)


def engine(photos: list[Path], out: Path, workers: int, options: argparse.Namespace) -> Way:
    """The batch engine over the folder of the photos."""
    from pnp_ovss.batch.job import Job, Resources
    from pnp_ovss.batch.run import run_batch

    marks: list[float] = []
    job = Job(classes=CLASSES, model=options.model, settings={"refine": options.refine})
    start = time.perf_counter()
    run_batch(
        [str(photos[0].parent)], out, job, Resources(workers=workers), engine=options.engine,
        shard_size=len(photos) if options.engine == "local" else max(1, len(photos) // (4 * workers)),
        progress=lambda done, _: marks.extend([time.perf_counter()] * done),
    )  # fmt: skip
    seconds = [s for path in (out / "shards").iterdir() for s in pq.read_table(path)["seconds"].to_pylist()]
    inside = (sum(seconds) - max(seconds)) / (len(seconds) - 1)  # without the first photo, which warms up
    each = (marks[-1] - marks[0]) / (len(photos) - 1)
    outside = each - inside if workers == 1 else None
    return Way(f"{options.engine}, {workers} workers", 1 / each, marks[0] - start, inside, outside)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--refine", default="densecrf")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    about = measured()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        photos = make_photos(root / "in", options.photos, options.side)
        ways = [engine(photos, root / f"out{n}", n, options) for n in (1, 2)]
        ways.insert(0, plain_loop(photos, options.model, options.refine))
    print(f"{about['date']}  {options.model}, {options.photos} photos of {options.side} px; {about['machine']}")
    for way in ways:
        outside = "" if way.outside_s is None else f", outside {way.outside_s:.3f} s"
        inside = f"start-up {way.start_s:5.1f} s, inside {way.inside_s:.3f} s{outside}"
        print(f"{way.way:18s} {way.photos_per_s:6.2f} photos/s  {inside}")
    if options.json:
        report = {**about, **vars(options), "ways": [asdict(w) for w in ways]}
        options.json.write_text(json.dumps(report, indent=2, default=str) + "\n")
    print(
        f"ratio 2 workers {ways[2].photos_per_s / ways[1].photos_per_s:.2f} of 1, overhead {ways[1].outside_s:.3f} s a photo"
    )


if __name__ == "__main__":
    main()
