"""Whether two runs on the same images differ: their records, paired image by image."""

from collections.abc import Sequence
from pathlib import Path

from pnp_ovss.evaluation.intervals import ImageCounts, Interval, bootstrap_difference
from pnp_ovss.evaluation.records import read_records
from pnp_ovss.evaluation.report import EvaluationReport


def paired_differences(
    paths: Sequence[Path], reports: Sequence[EvaluationReport], *, seed: int = 0
) -> dict[int, Interval]:
    """Index of a report -> interval of its mIoU minus that of the first report, on the images that both have.

    A report is left out if its records are not beside it, or if classes or data set are others.
    """
    first = _counts(paths[0], reports[0])
    found: dict[int, Interval] = {}
    for index in range(1, len(paths)):
        other = _counts(paths[index], reports[index])
        comparable = reports[index].dataset == reports[0].dataset
        comparable &= tuple(reports[index].per_class) == tuple(reports[0].per_class)
        shared = [id for id in first if id in other]
        if comparable and shared:
            labels = range(0 if "background" in reports[0].per_class else 1, first[shared[0]].size)
            found[index] = bootstrap_difference(
                [other[id] for id in shared], [first[id] for id in shared], labels, seed=seed
            )
    return found


def _counts(path: Path, report: EvaluationReport) -> dict[str, ImageCounts]:
    records = path.parent / report.records
    if not report.records or not records.is_file():
        return {}
    return {record.id: record.counts[report.variant] for record in read_records(records)[1] if record.error is None}
