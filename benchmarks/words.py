"""Words that no training text ever used: mIoU on VOC when the classes are asked for by them.

python benchmarks/words.py VOC_ROOT PAIRS_FOLDER [--limit N] [--policy oracle]

Every word of WORDS is first looked up in the captions and tags of PAIRS_FOLDER/pairs.jsonl and in its ImageNet class names: one
that occurs there is refused, so that "unseen" is checked and not believed. Then the photos are segmented twice, by the usual
names and by the words, without a refiner; the classes that have no such word keep their names.
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pnp_ovss import Segmenter
from pnp_ovss.datasets import open_dataset
from pnp_ovss.evaluation.presence import average_precision
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import run
from pnp_ovss.evaluation.systems import SegmenterSystem
from pnp_ovss.tuning.presence import best_f1

WORDS = {
    "aeroplane": "jetliner", "bicycle": "pushbike", "bird": "songbird", "bottle": "flask", "bus": "omnibus", "car": "motorcar",
    "cat": "feline", "cow": "heifer", "dog": "canine", "horse": "stallion", "motorbike": "chopper", "sheep": "ewe", "sofa": "divan",
    "train": "railcar", "tv monitor": "telly",
}  # fmt: skip


def training_text(pairs: Path) -> str:
    """All captions, tags and ImageNet class names, in small letters."""
    rows = map(json.loads, (pairs / "pairs.jsonl").read_text("utf-8").splitlines())
    lines = [text for row in rows for text in (*row["captions"], *row["tags"])]
    return "\n".join([*lines, (pairs / "imagenet_classes.txt").read_text("utf-8")]).lower()


def presence(segmenter: Segmenter, pairs: Path) -> tuple[int, dict[str, tuple[float, float]]]:
    """The photos of split `tune`, and by names and by words: average precision and best micro-F1 of all pairs."""
    rows = [json.loads(line) for line in (pairs / "pairs.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["split"] == "tune"]
    truth = np.array([[name in row["tags"] for name in WORDS] for row in rows]).ravel()
    every, found = segmenter.replace(policy="itm", match_threshold=0.0), {}
    for kind, asked in (("names", list(WORDS)), ("words", list(WORDS.values()))):
        scores = np.array([every.prepare(pairs / "images" / row["image"], asked).match_scores for row in rows]).ravel()
        found[kind] = (average_precision(scores, truth), best_f1(scores, truth))
    return len(rows), found


def main() -> None:
    """Check the words, segment twice, print both figures and each class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voc", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--policy", default="oracle")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--presence", action="store_true", help="only whether they are there; no masks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = training_text(options.pairs)
    seen = [word for word in WORDS.values() if re.search(rf"\b{word}s?\b", text)]
    if seen:
        parser.error(f"these words occur in the training texts: {', '.join(seen)}")
    segmenter = Segmenter.from_pretrained("pocket", policy=options.policy, refine="none")
    if options.presence:
        count, found = presence(segmenter, options.pairs)
        for kind, (ap, f1) in found.items():
            print(
                f"{count} photos of split tune, {len(WORDS)} {kind}: average precision {ap:.3f}, best micro-F1 {f1:.3f}"
            )
        return
    data = open_dataset("voc", options.voc).subset(options.limit)
    classes = tuple((WORDS.get(row[0], row[0]),) for row in data.vocabulary.classes)
    asked = {"names": data, "words": replace(data, vocabulary=replace(data.vocabulary, classes=classes))}
    reports = {}
    for name, given in asked.items():
        records = options.work / f"words-{options.policy}-{name}.jsonl"
        records.parent.mkdir(parents=True, exist_ok=True)
        reports[name] = summarise(run(given, lambda: SegmenterSystem(segmenter), records))
    print(f"{len(data)} images, policy {options.policy}, no refiner: IoU per cent by name and by unseen word")
    pairs = [(n, w, reports["names"].per_class[n], reports["words"].per_class[w]) for n, w in WORDS.items()]
    pairs = [pair for pair in pairs if None not in pair]  # classes that do not occur in these photos
    for name, word, usual, unseen in pairs:
        print(f"| {name} | {100 * usual:.1f} | {word} | {100 * unseen:.1f} |")
    print(
        f"| mean | {100 * sum(p[2] for p in pairs) / len(pairs):.1f} | | {100 * sum(p[3] for p in pairs) / len(pairs):.1f} |"
    )


if __name__ == "__main__":
    main()
