"""The built-in pocket model: CPU seconds a photo on one core, and a cold start of the command beside a bare import.

python benchmarks/speed_pocket.py [--photos 10] [--json FILE]

Photographs of scikit-image resized to 500 x 375 with the 20 class names of Pascal VOC, shipped preset (policy `itm`), one thread.
A bare import is `python -c "import torch, transformers"`; both are run in turns, and the fastest of each counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import skimage
import torch
from machine import measured
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.images import read_image

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
BARE = [sys.executable, "-c", "import torch, transformers"]


def resized(folder: Path) -> list[Path]:
    """The photographs at 500 x 375 px; those that this installation does not have are left out."""
    source, found = Path(skimage.__file__).parent / "data", []
    for name in PHOTOS:
        if (source / name).is_file():
            found.append(folder / f"{Path(name).stem}.png")
            Image.open(source / name).convert("RGB").resize((500, 375)).save(found[-1])
    return found


def per_photo(paths: list[Path], names: list[str], refine: str, photos: int) -> float:
    """Median CPU seconds of a photo, after a first one that warms up."""
    segmenter = Segmenter.from_pretrained("pocket", refine=refine)
    images = [read_image(path) for path in paths]
    segmenter(images[0], names)
    seconds = []
    for i in range(photos):
        start = time.process_time()
        segmenter(images[i % len(images)], names)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def wall(command: list[str]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def cold_start(photo: Path, out: Path, rounds: int = 4) -> tuple[float, float]:
    """Seconds of (a bare import, `pnp-ovss segment` of one photo with two names), the fastest of `rounds` each."""
    command = [str(Path(sys.executable).with_name("pnp-ovss")), "segment", str(photo), "--classes", "cat,person"]
    pairs = [(wall(BARE), wall([*command, "--out", str(out / str(i))])) for i in range(rounds)]
    return min(bare for bare, _ in pairs), min(ours for _, ours in pairs)


def measure(photos: int) -> dict:
    """Time, print three lines; the report as JSON values."""
    torch.set_num_threads(1)
    names = list(get_vocabulary("voc20").names)
    with tempfile.TemporaryDirectory() as folder:
        paths = resized(Path(folder))
        seconds = {refine: per_photo(paths, names, refine, photos) for refine in ("none", "densecrf")}
        bare, cold = cold_start(paths[0], Path(folder))
    for refine, value in seconds.items():
        print(f"500 x 375 px, {len(names)} classes, refine {refine:8s}: {value:.2f} s of one core")
    print(
        f"cold `pnp-ovss segment` {cold:.1f} s, bare import of torch and transformers {bare:.1f} s: {cold - bare:+.1f} s"
    )
    return {
        **measured(),
        "cpu_seconds": seconds,
        "bare_import_s": bare,
        "segment_s": cold,
    }


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = measure(options.photos)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
