"""What `benchmarks/evaluation.py` runs: policies, baselines, refiners, sizes, Saliency DropOut, ablation, sensitivity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

READERS = {
    "voc": ("voc", "voc"),
    "coco-object": ("coco-object", "coco"),
    "camvid": ("camvid", "camvid"),
    "nyuv2": ("folder", "nyuv2"),
    "labelmefacade": ("folder", "labelmefacade"),
}
"""Data set → its reader and its folder below the data."""
STUFF = ("camvid", "nyuv2", "labelmefacade")
"""Every pixel has a class: no background."""
BARE = ("--refine", "none")
PAPER_STEPS = ("completion=none", "competition=overlay")

DROPOUT = {
    "1": ("drops=1",),
    "4": ("drops=4",),
    "1-minmax": ("drops=1", "accumulate=per_pass_minmax"),
    "0-global": ("drops=0", "normalise=global"),
    "1-global": ("drops=1", "normalise=global"),
    "2-global": ("drops=2", "normalise=global"),
    "1-tokens": ("drops=1", "hole=remove_tokens"),
}
PAINTED = ("match_threshold=0.0", "match_top_k=1", 'background="none"')
"""The whole photo in the class that matches it best."""


@dataclass(frozen=True)
class Job:
    """One command. `title` is what its row is called; `table` is where it stands."""

    name: str
    table: str
    title: str
    arguments: tuple[str, ...]
    command: str = "evaluate"
    dataset: str = "voc"


def all_jobs(data: Path) -> Iterator[Job]:
    """All of them, the most telling first."""
    tags = data / "pairs" / "pairs.jsonl"
    for dataset in READERS:
        yield from _policies(dataset)
        yield from _baselines(dataset, tags if tags.is_file() else None)
    yield Job("voc-pamr", "refiner", "oracle, pamr", ("--policy", "oracle", "--refine", "pamr"))
    yield from _sizes()
    for dataset in ("voc", "camvid"):
        for name, settings in DROPOUT.items():
            arguments = ("--policy", "oracle", *BARE, *_sets(settings))
            title = ", ".join(settings)
            yield Job(f"{dataset}-dropout-{name}", f"{dataset}-dropout", title, arguments, dataset=dataset)
    yield Job("voc-ablation", "ablation", "", ("--policy", "oracle", "--set", "drops=4"), "ablate")
    yield Job("voc-sensitivity", "sensitivity", "", ("--policy", "oracle", *BARE, "--every-head"), "sensitivity")


def _policies(dataset: str) -> Iterator[Job]:
    for policy in ("itm", "oracle"):
        for refine in ("none", "densecrf"):
            arguments = ("--policy", policy, "--refine", refine)
            yield Job(f"{dataset}-{policy}-{refine}", dataset, f"{policy}, {refine}", arguments, dataset=dataset)
    for policy in ("itm", "oracle"):
        arguments = ("--policy", policy, *BARE, *_sets(PAPER_STEPS))
        title = f"{policy}, none, without completion, the paper's competition"
        yield Job(f"{dataset}-{policy}-overlay", dataset, title, arguments, dataset=dataset)
    yield Job(f"{dataset}-all", dataset, "all, none", ("--policy", "all", *BARE), dataset=dataset)
    painted, title = ("--policy", "itm", *BARE, *_sets(PAINTED)), "the whole photo in its best-matching class"
    yield Job(f"{dataset}-painted", dataset, title, painted, dataset=dataset)


def _baselines(dataset: str, tags: Path | None) -> Iterator[Job]:
    names = ["random", "tags"]
    if dataset not in STUFF:
        names = ["background", *names, *([f"cam:{tags}"] if tags else [])]
    for name in names:
        short = name.partition(":")[0]
        arguments = ("--baselines", name, "--only-baselines", "--examples", "0")
        yield Job(f"{dataset}-{short}", dataset, f"baseline {short}", arguments, dataset=dataset)


def _sizes() -> Iterator[Job]:
    itm = ("--policy", "itm")
    for size in ("224", "320", "512", "640"):
        yield Job(f"voc-{size}-none", "size", f"itm, none, {size} px", (*itm, *BARE, "--size", size))
    for size in ("224", "320"):
        yield Job(f"voc-{size}-densecrf", "size", f"itm, densecrf, {size} px", (*itm, "--size", size))
    yield Job("voc-448-bfloat16", "size", "itm, none, 448 px, bfloat16", (*itm, *BARE, "--precision", "bfloat16"))


def _sets(settings: Iterable[str]) -> tuple[str, ...]:
    return tuple(argument for setting in settings for argument in ("--set", setting))
