"""Is a name in the photo: what the bank, its size, the share of the median and the ways to a median are worth, on image-level tags.

    python benchmarks/presence.py ../shared/data/voc [--set voc --split train] [--bank FILE ...] [--limit N]

Each photo is encoded once and matched with all names; everything else is arithmetic. Rows: no bank; every bank with each share of
the median taken off; and, with the share in use, the median of the NEAREST names by word embedding in a table of the calibration's
reference names, the name itself taken out of it (what a table of medians would give a word that is not in it). The logit from which
a name is kept finds as many pairs on the bank as match_threshold does without one; no tag is read for it. "best F1" reads the
tags: it says what a better threshold could give.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from machine import measured
from numpy.typing import NDArray
from torch import Tensor

from pnp_ovss import Segmenter
from pnp_ovss.calibration import reference_names
from pnp_ovss.competition import logit
from pnp_ovss.datasets import open_dataset
from pnp_ovss.evaluation.presence import average_precision
from pnp_ovss.gradcam import encode, match_logits
from pnp_ovss.images import read_image, to_pixels
from pnp_ovss.presence import SHARE_OF_MEDIAN, NameBank, bank_margins
from pnp_ovss.tuning.presence import best_f1
from pnp_ovss.tuning.tags import TaggedImage, dataset_tags
from pnp_ovss.vlms.base import VisionLanguageModel

SHARES = (0.25, 0.5, 0.75, 1.0)
NEAREST = (1, 5, 20)

Logits = NDArray[np.float64]


def margins_of(segmenter: Segmenter, photos: Sequence[TaggedImage], names: Sequence[str]) -> Logits:
    """Match − no-match logits (photos, names)."""
    rows = []
    for tagged in photos:
        photo = read_image(tagged.path)
        pixels = to_pixels(photo, segmenter.input_size(*photo.shape[:2]))
        found = match_logits(
            segmenter.vlm, encode(segmenter.vlm, pixels, segmenter.config), names, segmenter.config.template
        )
        rows.append((found[:, 1] - found[:, 0]).tolist())
    return np.array(rows, np.float64)


def vectors(vlm: VisionLanguageModel, names: Sequence[str]) -> Tensor:
    """Unit word embeddings (names, D) of a model's text encoder: the mean over a name's tokens."""
    table = next(part for path, part in vlm.model.named_modules() if path.endswith("word_embeddings"))
    tokens = [[i for i, at in zip(t.ids, t.offsets, strict=True) if at[1] > at[0]] for t in map(vlm.tokenize, names)]
    with torch.no_grad():
        means = torch.stack([table(torch.tensor(ids)).mean(dim=0) for ids in tokens])
    return torch.nn.functional.normalize(means, dim=1)


def by_nearest(
    vlm: VisionLanguageModel, names: Sequence[str], table: dict[str, float], count: int
) -> NDArray[np.float64]:
    """Each name's median as the mean of those of the `count` nearest other names of a table {name: median}."""
    others = list(table)
    alike = (vectors(vlm, names) @ vectors(vlm, others).T).numpy()
    alike[np.array([[name == other for other in others] for name in names])] = -np.inf
    values = np.array(list(table.values()))
    return values[np.argsort(-alike, axis=1)[:, :count]].mean(axis=1)


def shift(on_bank: Logits, medians: NDArray[np.float64], threshold: float) -> float:
    """The logit above which as many pairs (photos of the bank, names) lie after centring as `threshold` finds before."""
    found = int((on_bank >= logit(threshold)).sum())
    return float(np.sort((on_bank - medians).ravel())[::-1][max(found, 1) - 1])


def rows_of(
    segmenter: Segmenter, margins: Logits, names: Sequence[str], banks: Sequence[str]
) -> Iterator[tuple[str, Logits, float]]:
    """(what, logits (photos, names), the logit from which a name is kept) of each row of the table."""
    threshold, template = segmenter.config.match_threshold, segmenter.config.template
    yield f"no bank, {threshold:g}", margins, logit(threshold)
    yield "no bank, 0.85", margins, logit(0.85)
    reference = reference_names()
    asked = [*reference, *(name for name in names if name not in reference)]
    for path in banks:
        bank = NameBank.load(path)
        on_bank = bank_margins(segmenter.vlm, bank, asked, template)
        medians = dict(zip(asked, np.median(on_bank, axis=0).tolist(), strict=True))
        own, wide = np.array([medians[name] for name in names]), np.array([medians[name] for name in reference])
        for share in SHARES:
            t = shift(on_bank[:, : len(reference)], share * wide, threshold)
            yield f"{Path(path).stem}, {len(bank)} photos, {share:g} of the median", margins - share * own, t
        t = shift(on_bank[:, : len(reference)], SHARE_OF_MEDIAN * wide, threshold)
        for count in NEAREST:
            near = by_nearest(segmenter.vlm, names, {name: medians[name] for name in reference}, count)
            yield (
                f"{Path(path).stem}, {SHARE_OF_MEDIAN:g} of the median of {count} nearest names",
                margins - SHARE_OF_MEDIAN * near,
                t,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--set", default="voc")
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--bank", nargs="*", default=["pocket"])
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    about = measured()
    dataset = open_dataset(options.set, options.root, **({"split": options.split} if options.split else {}))
    segmenter = Segmenter.from_pretrained(options.model, bank="", device="cpu")
    photos = dataset_tags(dataset)[: options.limit]
    tags = np.array([[name in photo.class_names for name in dataset.names] for photo in photos])
    margins = margins_of(segmenter, photos, dataset.names)
    print(
        f"{options.set} {options.split}, {len(photos)} photos, {len(dataset.names)} names; {about['date']}, {about['machine']}\n"
    )
    print("| scores | AP | precision | recall | micro-F1 | best F1 |\n|---|---|---|---|---|---|")
    for what, scores, least in rows_of(segmenter, margins, dataset.names, options.bank):
        kept = scores >= least
        right = int((kept & tags).sum())
        rates = (right / max(1, kept.sum()), right / tags.sum(), 2 * right / (kept.sum() + tags.sum()))
        ap = average_precision(scores.ravel(), tags.ravel())
        print(
            f"| {what} | {ap:.3f} | {' | '.join(f'{rate:.3f}' for rate in rates)} | {best_f1(scores, tags):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
