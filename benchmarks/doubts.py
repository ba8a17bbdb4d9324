"""How often is a doubtful find wrong? Of the names that the built-in model keeps: how many are absent, how many nearly so placed.

    python benchmarks/doubts.py ../shared/data [--limit N]

Policy itm at the preset, no refiner, on VOC train (where both cues of `pnp_ovss.verdicts` were chosen) and COCO. "Wrong": an IoU of
the class in the photo below 0.1, absent classes among them.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pnp_ovss import Segmenter
from pnp_ovss.datasets import VOID, open_dataset

SETS = {"VOC train": ("voc", "voc", {"split": "train"}), "COCO": ("coco-object", "coco", {})}
CUES = {"any": "", "match near the threshold": "match", "spread map": "its map"}


@dataclass(frozen=True)
class Find:
    """One name that was kept in one photo."""

    doubts: tuple[str, ...]
    absent: bool
    wrong: bool


def finds(segmenter: Segmenter, reader: str, root: Path, options: dict[str, str], limit: int | None) -> list[Find]:
    """All names kept in the photos of a data set."""
    dataset, found = open_dataset(reader, root, **options), []
    for sample in list(dataset)[:limit]:
        truth = sample.labels()
        result = segmenter(sample.image, dataset.names)
        for label in result.kept:
            painted, there = (labels == label for labels in (result.labels[truth != VOID], truth[truth != VOID]))
            iou = (painted & there).sum() / max(1, (painted | there).sum())
            found.append(Find(result.doubts(dataset.names[label - 1]), not there.any(), bool(iou < 0.1)))
    return found


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    segmenter = Segmenter.from_pretrained("pocket", policy="itm", refine="none")
    print("| data | finds | number | absent, % | wrong, % |\n|---|---|---|---|---|")
    for name, (reader, folder, more) in SETS.items():
        found = finds(segmenter, reader, options.data / folder, more, options.limit)
        sure = [find for find in found if not find.doubts]
        rows = {"all": found, "without a doubt": sure}
        rows |= {cue: [f for f in found if any(d.startswith(start) for d in f.doubts)] for cue, start in CUES.items()}
        for cue, part in rows.items():
            absent, wrong = (
                100 * np.mean([getattr(f, kind) for f in part]) if part else 0 for kind in ("absent", "wrong")
            )
            print(f"| {name} | {cue} | {len(part)} | {absent:.0f} | {wrong:.0f} |")


if __name__ == "__main__":
    main()
