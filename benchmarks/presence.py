"""Which rule should the policy `itm` use? Precision, recall and micro-F1 of each family of rules on tagged photographs.

    python benchmarks/presence.py PAIRS_FOLDER [--model pocket] [--vocabulary voc20] [--split tune]

PAIRS_FOLDER holds `pairs.jsonl` ({"image", "tags", "split", ...}) and `images/`. Only image-level tags are read, no mask.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from pnp_ovss import Segmenter
from pnp_ovss.datasets import get_vocabulary
from pnp_ovss.images import read_image
from pnp_ovss.tuning.presence import choose_rule, search_rules


def main() -> None:
    """Score the photographs with the model and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--vocabulary", default="voc20")
    parser.add_argument("--split", default="tune")
    options = parser.parse_args()
    vocabulary = get_vocabulary(options.vocabulary)
    lines = (options.pairs / "pairs.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == options.split and row["tags"]]
    segmenter = Segmenter.from_pretrained(options.model, policy="itm")
    scores = np.zeros((len(rows), len(vocabulary)))
    tags = np.zeros(scores.shape, dtype=bool)
    for index, row in enumerate(rows):
        photo = read_image(options.pairs / "images" / row["image"])
        scores[index] = segmenter.prepare(photo, vocabulary.names).match_scores
        tags[index, [vocabulary.label(name) - 1 for name in row["tags"]]] = True
    results = search_rules(scores, tags)
    print(f"{options.model}, {len(rows)} images of split {options.split}, {tags.sum(axis=1).mean():.2f} tags an image")
    print("| family | threshold | relative | top_k | precision | recall | micro-F1 | against plain, 95 % |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|")
    for result in results:
        rule, found, gain = result.rule, result.presence, result.gain
        print(
            f"| {result.family} | {rule.threshold} | {rule.relative} | {rule.top_k or '-'} | {found.precision:.3f} | "
            f"{found.recall:.3f} | {found.micro_f1:.3f} | {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] |"
        )
    print(f"chosen: {choose_rule(results).rule}")


if __name__ == "__main__":
    main()
