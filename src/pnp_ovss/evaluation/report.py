"""The report of one evaluation: every number with what it takes to believe it."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.datasets.base import Dataset
from pnp_ovss.datasets.splits import get_split, list_splits
from pnp_ovss.errors import OutputError
from pnp_ovss.evaluation.intervals import ImageCounts, bootstrap_miou
from pnp_ovss.evaluation.metrics import Metrics, compute, empty_confusion
from pnp_ovss.evaluation.presence import Decided, Survival, presence_by_list, survival
from pnp_ovss.evaluation.records import ImageRecord
from pnp_ovss.evaluation.run import Results
from pnp_ovss.files import read_json, write_json
from pnp_ovss.provenance import digest, library_versions
from pnp_ovss.refiners import TRAINED_ON_MASKS

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class EvaluationReport:
    """One system on one data set. Shares in [0, 1]; None where there is nothing to divide by."""

    dataset: str
    model: str
    method: str
    policy: str
    refine: str
    size: int | None
    """Side of the model's input, pixels."""
    images: int
    """Images that the numbers are from."""
    failed: int
    miou: float | None
    """Over the classes, background among them if the data set has one."""
    interval: Bounds
    """95 % bootstrap interval of `miou` over images."""
    miou_without_background: float | None
    interval_without_background: Bounds
    pixel_accuracy: float | None
    mean_accuracy: float | None
    frequency_weighted_iou: float | None
    per_class: Mapping[str, float | None]
    """IoU by class name, `background` first if the data set has one; None for a class that does not occur."""
    images_per_class: Mapping[str, int]
    """Number of images whose ground truth has the class."""
    splits: Mapping[str, float | None]
    """Mean IoU over the paper's class splits (supplements 9 and 11), all classes competing; None if one never occurs."""
    presence: Mapping[str, float | None]
    """precision, recall and micro_f1 of the classes that the policy kept, over image x class; ap of its scores, where it
    has any; names kept and present an image."""
    presence_by_list: tuple[Mapping[str, float | None], ...]
    """The same for shorter lists of names (`ListPresence`), the whole vocabulary last."""
    survival: Mapping[str, int]
    """found (present and kept), and of these no_pixel and under_tenth of their area (`Survival`), over image x class."""
    void: str
    seconds_per_image: float | None
    notes: tuple[str, ...]
    variant: str = ""
    failures: tuple[Mapping[str, str], ...] = ()
    """`id` and `error` of each image that failed."""
    seed: int = 0
    """Of the bootstrap."""
    config: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    records: str = ""
    """Name of the file with one record an image, beside the report."""
    recipe: tuple[str, ...] = ()
    """What was said of the recipe that was followed, and in what the run differs from it."""

    @property
    def trained_on_masks(self) -> bool:
        """Whether a refiner took part that learned from masks."""
        return TRAINED_ON_MASKS in self.refine

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def save(self, path: Path) -> None:
        """Write the report as JSON. Raises OutputError."""
        write_json(path, self.to_dict())


def read_report(path: Path) -> EvaluationReport:
    """Read a report's JSON. Raises OutputError if it is none."""
    return _from_json(path, read_json(path, "the report", error=OutputError))


def save_reports(path: Path, reports: Mapping[str, EvaluationReport]) -> None:
    """Write the reports of a run's variants as one JSON object. Raises OutputError."""
    write_json(path, {name: report.to_dict() for name, report in reports.items()})


def read_reports(path: Path) -> dict[str, EvaluationReport]:
    """Read what `save_reports` wrote. Raises OutputError if it is not that."""
    values = read_json(path, "the reports", error=OutputError)
    if not isinstance(values, dict):
        raise OutputError(f"{path} holds no reports of `pnp-ovss ablate` or `sensitivity`")
    return {name: _from_json(path, report) for name, report in values.items()}


def _from_json(path: Path, values: Any) -> EvaluationReport:
    try:
        found: dict[str, Any] = {"recipe": (), **values}
        for name in ("interval", "interval_without_background", "notes", "failures", "recipe", "presence_by_list"):
            found[name] = tuple(found[name])
        return EvaluationReport(**found)
    except (TypeError, LookupError, AttributeError) as error:
        raise OutputError(f"{path} is no report of `pnp-ovss evaluate` ({error!r})") from None


def summarise(results: Results, variant: str = "", *, seed: int = 0) -> EvaluationReport:
    """The report of one variant of a run.

    variant: of `results.variants`; a plain system has the one variant "". seed: of the bootstrap over images.
    Raises OutputError if not one image could be evaluated.
    """
    finished, dataset, settings = results.finished, results.dataset, results.settings
    failures = tuple({"id": r.id, "error": r.error} for r in results.records if r.error is not None)
    if not finished:
        first = f", first {failures[0]['id']}: {failures[0]['error']}" if failures else ""
        raise OutputError(f"no image of {len(results.records)} could be evaluated{first}")
    lists = _presence(results, variant)
    return EvaluationReport(
        model=str(settings.get("model", "")),
        method=str(settings.get("method", "")),
        policy=str(settings.get("policy", "")),
        refine=str(settings.get("refine", "")),
        **_scores(dataset, results.counts(variant), seed),
        dataset=dataset.name,
        size=settings.get("size"),
        images=len(finished),
        failed=len(failures),
        images_per_class=_images_per_class(results),
        presence={name: value for name, value in lists[-1].items() if name != "names"},
        presence_by_list=lists,
        survival=_survival(results, variant),
        void=results.void,
        seconds_per_image=_number(float(np.mean([record.seconds for record in finished]))),
        notes=dataset.notes,
        variant=variant,
        failures=failures,
        seed=seed,
        config=settings,
        config_hash=digest({"settings": settings, "void": results.void, "notes": dataset.notes}),
        versions=library_versions(),
        records=results.path.name,
    )


def _scores(dataset: Dataset, images: Sequence[ImageCounts], seed: int) -> dict[str, Any]:
    """The fields that are computed from confusion matrices."""
    total = sum((counts.confusion() for counts in images), empty_confusion(len(dataset.vocabulary)))
    metrics = compute(total, background=dataset.has_background)
    first, size = 0 if dataset.has_background else 1, len(dataset.vocabulary) + 1
    whole, without = (bootstrap_miou(images, labels, seed=seed) for labels in (range(first, size), range(1, size)))
    return {
        "miou": _number(metrics.miou),
        "miou_without_background": _number(metrics.miou_without_background),
        "pixel_accuracy": _number(metrics.pixel_accuracy),
        "mean_accuracy": _number(metrics.mean_accuracy),
        "frequency_weighted_iou": _number(metrics.frequency_weighted_iou),
        "interval": (_number(whole.low), _number(whole.high)),
        "interval_without_background": (_number(without.low), _number(without.high)),
        "per_class": _per_class(dataset, metrics),
        "splits": split_means(dataset, metrics, total),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _per_class(dataset: Dataset, metrics: Metrics) -> dict[str, float | None]:
    names = ("background", *dataset.names)
    first = 0 if dataset.has_background else 1
    return {name: _number(float(iou)) for name, iou in list(zip(names, metrics.per_class, strict=True))[first:]}


def _images_per_class(results: Results) -> dict[str, int]:
    counts = Counter(label for record in results.finished for label in record.present)
    return {name: counts[label] for label, name in enumerate(results.dataset.names, 1)}


def split_means(dataset: Dataset, metrics: Metrics, total: np.ndarray) -> dict[str, float | None]:
    """Mean IoU of each split; None where the images lack one of its classes: a mean over the rest compares with nothing."""
    found = {}
    for name, vocabulary in list_splits():
        if vocabulary == dataset.vocabulary.name:
            labels = list(get_split(name, vocabulary).labels)
            complete = bool(total[labels].sum(axis=1).all())
            found[name] = _number(float(metrics.per_class[labels].mean())) if complete else None
    return found


def _kept(record: ImageRecord, variant: str, count: int) -> Sequence[int]:
    """The labels that could win; None in a record stands for all `count`."""
    kept = record.kept[variant]
    return range(1, count + 1) if kept is None else kept


def _presence(results: Results, variant: str) -> tuple[dict[str, float | None], ...]:
    count = len(results.dataset.vocabulary)
    decided = [
        Decided(record.id, record.present, tuple(_kept(record, variant, count)), record.scores[variant])
        for record in results.finished
    ]
    rows = map(dataclasses.asdict, presence_by_list(decided, count))
    return tuple({name: None if value is None else _number(value) for name, value in row.items()} for row in rows)


def _survival(results: Results, variant: str) -> dict[str, int]:
    count, total = len(results.dataset.vocabulary), Survival()
    for record in results.finished:
        confusion = record.counts[variant].confusion()
        total += survival(confusion, record.present, _kept(record, variant, count))
    return dataclasses.asdict(total)
