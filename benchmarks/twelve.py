"""Twelve photographs of Python packages: two nested names each, and ten names that are in none of them, before and after.

    python benchmarks/twelve.py [--out twelve] [--only nested] [--sam MODEL]

"Before" is the paper's competition without completion; for the absent names also one threshold for all names, 0.85, no bank
and no soft presence. "After" is the preset. Words were written down before the first look. Writes OUT/nested.png and OUT/absent.png
(photo, before, after) and prints what was found. Packages that are not installed (scikit-learn, gradio) are left out and said so.
--sam: in place of all this the preset's Dense CRF beside SAM (trained on masks; a model that `refine_options` takes) for the two
names, in OUT/sam.png.
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
from pnp_ovss.competition import correlations
from pnp_ovss.pictures.sheet import beside, fitted, stacked, words

PHOTOS = {
    "skimage/data/astronaut.png": (
        "person, space suit",
        "dog, car, tree, chair, horse, bicycle, hat, ball, boat, television",
    ),
    "skimage/data/camera.png": ("man, grass", "woman, horse, dog, bicycle, boat, umbrella, car, gun, bird, bench"),
    "skimage/data/chelsea.png": ("cat, ear", "dog, tiger, rabbit, bird, person, bed, horse, cow, sheep, fox"),
    "skimage/data/coffee.png": (
        "table, cup",
        "fork, knife, pizza, cake, laptop, bottle, wine glass, apple, donut, bowl of soup",
    ),
    "skimage/data/motorcycle_left.png": (
        "motorcycle, wheel",
        "car, bus, person, horse, train, truck, airplane, dog, sofa, boat",
    ),
    "skimage/data/rocket.jpg": (
        "sky, rocket",
        "airplane, tree, mountain, boat, train, car, ship, lighthouse, church, person",
    ),
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": (
        "woman, hat",
        "man, child, dog, umbrella, wine glass, car, tree, chair, cake, horse",
    ),
    "sklearn/datasets/images/flower.jpg": (
        "leaves, flower",
        "butterfly, bee, bird, vase, strawberry, cat, apple, person, orange, cake",
    ),
    "sklearn/datasets/images/china.jpg": (
        "sky, temple",
        "car, person, bus, train, horse, cow, snow, airplane, street sign, dog",
    ),
    "gradio/media_assets/images/cheetah.jpg": (
        "cheetah, grass",
        "dog, horse, lion, tiger, deer, zebra, cow, person, cat, giraffe",
    ),
    "gradio/media_assets/images/lion.jpg": (
        "lion, rock",
        "dog, horse, tiger, zebra, elephant, bear, person, cow, monkey, sheep",
    ),
    "gradio/media_assets/images/tower.jpg": (
        "sky, tower",
        "church, person, car, airplane, bus, boat, clock, lighthouse, mountain, dog",
    ),
}
"""{file in a package: (its two names, ten that are plausible there and are not)}."""
EASY = ("airplane", "bus", "train", "dog", "horse", "sheep", "sofa", "banana", "umbrella", "laptop")
"""Ten names for all, none of them like anything in the photos."""
CELL = 240


def found_photos() -> dict[Path, tuple[list[str], list[str]]]:
    """The photographs that are installed, each with its two names and ten absent ones."""
    found = {}
    for place, (names, absent) in PHOTOS.items():
        package, _, inside = place.partition("/")
        spec = find_spec(package)
        path = Path(spec.origin).parent / inside if spec and spec.origin else Path(place)
        if path.is_file():
            found[path] = (names.split(", "), absent.split(", "))
        else:
            print(f"left out: {place}")
    return found


def share(result: Segmentation, name: str) -> float:
    """The share of the photo that a name has."""
    return float(np.mean(result.labels == result.class_names.index(name) + 1))


def alike(segmenter: Segmenter, path: Path, names: Sequence[str]) -> str:
    """The correlation of two names' maps, as they compete and before completion."""
    trace = segmenter.look(segmenter.prepare(path, names, keep=names))
    maps = [some.sum_maps(trace) for some in (segmenter, segmenter.replace(completion="none"))]
    completed, before = (float(correlations(some)[0, 1]) for some in maps)
    return f"{completed:.2f} ({before:.2f})"


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
    parser.add_argument("--only", choices=("nested", "absent"))
    parser.add_argument("--sam", metavar="MODEL")
    options = parser.parse_args()
    about, photos = measured(), found_photos()
    options.out.mkdir(parents=True, exist_ok=True)
    after = Segmenter.from_pretrained("pocket", device="cpu")
    if options.sam:
        sam = after.replace(refine="sam", refine_options={"model": options.sam})
        nested(photos, after, sam, columns=2).quantize(128).save(options.out / "sam.png", optimize=True)
        return
    paper = after.replace(completion="none", competition="overlay", core_share=0.0, look_alikes=1.0)
    print(f"{len(photos)} photographs; {about['date']}, {about['machine']}\n")
    if options.only != "absent":
        nested(photos, paper, after).save(options.out / "nested.png")
    if options.only != "nested":
        absent(photos, paper.replace(bank="", match_threshold=0.85, soft_presence=False), after).save(
            options.out / "absent.png"
        )


def nested(
    photos: dict[Path, tuple[list[str], list[str]]], before: Segmenter, after: Segmenter, *, columns: int = 1
) -> Image.Image:
    """Both names may win, before and after; the photos in columns."""
    print(
        "| photo | asked | share of the photo before | after | maps alike (before completion) |\n|---|---|---|---|---|"
    )
    rows = []
    for path, (names, _) in photos.items():
        results = [segmenter(path, names, keep=names) for segmenter in (before, after)]
        texts = [", ".join(f"{name} {share(result, name):.0%}" for name in names) for result in results]
        print(f"| {path.stem} | {', '.join(names)} | {' | '.join(texts)} | {alike(after, path, names)} |", flush=True)
        rows.append(row(results, texts))
    return beside([stacked(rows[column::columns], gap_px=4) for column in range(columns)], gap_px=12)


def absent(photos: dict[Path, tuple[list[str], list[str]]], before: Segmenter, after: Segmenter) -> Image.Image:
    """The photo's names among absent ones, before and after; those that were found although they are not there."""
    print("\n| photo | its own names found, before / after | absent, before | after |\n|---|---|---|---|")
    rows, found, painted = [], [0, 0, 0, 0], [0, 0]
    for path, (names, others) in photos.items():
        results = [segmenter(path, [*names, *others]) for segmenter in (before, after)]
        kept = [[result.class_names[label - 1] for label in result.kept] for result in results]
        false = [[name for name in some if name in others] for some in kept]
        easy = [
            [name for name, p in zip(EASY, prepare(segmenter, path), strict=True) if p] for segmenter in (before, after)
        ]
        painted = [
            count + sum(share(r, n) > 0 for n in some) for count, r, some in zip(painted, results, false, strict=True)
        ]
        found = [count + len(some) for count, some in zip(found, (*false, *easy), strict=True)]
        own = " / ".join(", ".join(name for name in names if name in some) or "none" for some in kept)
        print(f"| {path.stem} | {own} | {' | '.join(', '.join(some) or '-' for some in false)} |", flush=True)
        rows.append(row(results, [", ".join(some) or "nothing" for some in kept]))
    asked = len(photos) * 10
    print(
        f"\nplausible absent names found before: {found[0]} of {asked} ({painted[0]} with pixels); after: {found[1]} ({painted[1]})"
    )
    print(f"names like nothing there, found before: {found[2]} of {asked}; after: {found[3]}")
    return stacked(rows, gap_px=4)


def prepare(segmenter: Segmenter, path: Path) -> list[bool]:
    """Whether each of the EASY names is found."""
    prepared = segmenter.prepare(path, EASY)
    return [index in prepared.kept for index in range(len(EASY))]


if __name__ == "__main__":
    main()
