"""Twelve photographs of Python packages: two nested names each, and ten names that are in none of them, before and after.

    python benchmarks/twelve.py [--out twelve]

"Before" is the paper's competition without completion; for the absent names also one threshold for all names, 0.85, no bank
and no soft presence. "After" is the preset. Words were written down before the first look. Writes OUT/nested.png and OUT/absent.png
(photo, before, after) and prints what was found. Packages that are not installed (scikit-learn, gradio) are left out and said so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from machine import measured
from PIL import Image

from pnp_ovss import Segmentation, Segmenter
from pnp_ovss.pictures.sheet import beside, fitted, stacked, words

PHOTOS = {
    "skimage/data/astronaut.png": "person, space suit",
    "skimage/data/camera.png": "man, grass",
    "skimage/data/chelsea.png": "cat, ear",
    "skimage/data/coffee.png": "table, cup",
    "skimage/data/motorcycle_left.png": "motorcycle, wheel",
    "skimage/data/rocket.jpg": "sky, rocket",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": "woman, hat",
    "sklearn/datasets/images/flower.jpg": "leaves, flower",
    "sklearn/datasets/images/china.jpg": "sky, temple",
    "gradio/media_assets/images/cheetah.jpg": "cheetah, grass",
    "gradio/media_assets/images/lion.jpg": "lion, rock",
    "gradio/media_assets/images/tower.jpg": "sky, tower",
}
ABSENT = ("airplane", "bus", "train", "dog", "horse", "sheep", "sofa", "banana", "umbrella", "laptop")
CELL = 240


def found_photos() -> dict[Path, list[str]]:
    """The photographs that are installed, each with its two names."""
    found = {}
    for place, names in PHOTOS.items():
        package, _, inside = place.partition("/")
        spec = find_spec(package)
        path = Path(spec.origin).parent / inside if spec and spec.origin else Path(place)
        if path.is_file():
            found[path] = names.split(", ")
        else:
            print(f"left out: {place}")
    return found


def share(result: Segmentation, name: str) -> float:
    """The share of the photo that a name has."""
    return float(np.mean(result.labels == result.class_names.index(name) + 1))


def row(results: Sequence[Segmentation], texts: Sequence[str]) -> Image.Image:
    """The photo and each answer, its text below."""
    photo = fitted(Image.fromarray(results[0].image), CELL)
    cells = [photo, *(fitted(result.overlay(), CELL) for result in results)]
    captions = [words([text], CELL, font_px=11, line_px=16) for text in ("", *texts)]
    return beside(
        [stacked([cell, caption]) for cell, caption in zip(cells, captions, strict=True)], gap_px=6, cell_px=CELL
    )


def main() -> None:
    """Print two tables and write two pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("twelve"))
    options = parser.parse_args()
    about, photos = measured(), found_photos()
    options.out.mkdir(parents=True, exist_ok=True)
    after = Segmenter.from_pretrained("pocket", device="cpu")
    paper = after.replace(completion="none", competition="overlay", core_share=0.0)
    open_before = paper.replace(bank="", match_threshold=0.85, soft_presence=False)
    print(f"{len(photos)} photographs; {about['date']}, {about['machine']}\n")
    print("| photo | asked | share of the photo before | after |\n|---|---|---|---|")
    nested = []
    for path, names in photos.items():
        results = [segmenter(path, names, keep=names) for segmenter in (paper, after)]
        texts = [", ".join(f"{name} {share(result, name):.0%}" for name in names) for result in results]
        print(f"| {path.stem} | {', '.join(names)} | {' | '.join(texts)} |", flush=True)
        nested.append(row(results, texts))
    stacked(nested, gap_px=4).save(options.out / "nested.png")
    print("\n| photo | its own names found, before / after | absent, before | after |\n|---|---|---|---|")
    absent, counts = [], {"before": [0, 0], "after": [0, 0]}
    for path, names in photos.items():
        results = [segmenter(path, [*names, *ABSENT]) for segmenter in (open_before, after)]
        kept = [[result.class_names[label - 1] for label in result.kept] for result in results]
        false = [[name for name in some if name in ABSENT] for some in kept]
        for which, result, some in zip(counts, results, false, strict=True):
            counts[which][0] += len(some)
            counts[which][1] += sum(share(result, name) > 0 for name in some)
        own = " / ".join(", ".join(name for name in names if name in some) or "none" for some in kept)
        print(f"| {path.stem} | {own} | {' | '.join(', '.join(some) or '-' for some in false)} |", flush=True)
        absent.append(row(results, [", ".join(some) or "nothing" for some in kept]))
    stacked(absent, gap_px=4).save(options.out / "absent.png")
    for which, (kept_count, painted) in counts.items():
        print(f"\nfalse finds {which}: {kept_count} of {len(photos) * len(ABSENT)}, with pixels {painted}")


if __name__ == "__main__":
    main()
