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

import torch

from pnp_ovss import Segmenter
from pnp_ovss.datasets import open_dataset
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import run
from pnp_ovss.evaluation.systems import SegmenterSystem

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


def main() -> None:
    """Check the words, segment twice, print both figures and each class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voc", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--policy", default="oracle")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = training_text(options.pairs)
    seen = [word for word in WORDS.values() if re.search(rf"\b{word}s?\b", text)]
    if seen:
        parser.error(f"these words occur in the training texts: {', '.join(seen)}")
    data = open_dataset("voc", options.voc).subset(options.limit)
    classes = tuple((WORDS.get(row[0], row[0]),) for row in data.vocabulary.classes)
    asked = {"names": data, "words": replace(data, vocabulary=replace(data.vocabulary, classes=classes))}
    segmenter = Segmenter.from_pretrained("pocket", policy=options.policy, refine="none")
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
