"""docs/pictures/results.png from the reports that `benchmarks/evaluation.py` left: `python docs/make_results_picture.py RUNS`.

One bar for each part of a data set, policy and refiner that RUNS has a report of, with its 95 % interval.
"""

import sys
from pathlib import Path

from matplotlib import pyplot

from pnp_ovss.evaluation.report import EvaluationReport, read_report

PICTURE = Path(__file__).parent / "pictures" / "results.png"
SETS = {
    "voc": "Pascal VOC\n20 + background",
    "coco-object": "COCO Object\n80 + background",
    "camvid": "CamVid\n11",
    "nyuv2": "NYU Depth v2\n37",
    "labelmefacade": "LabelMeFacade\n8",
}
BARS = {
    ("oracle", "densecrf"): ("its own classes given, Dense CRF", "#1b4f8a"),
    ("oracle", "none"): ("its own classes given, no refiner", "#7ba6d6"),
    ("itm", "densecrf"): ("all names asked, Dense CRF", "#b3541e"),
    ("itm", "none"): ("all names asked, no refiner", "#e8a87c"),
}
WIDTH = 0.2


def reports(runs: Path) -> dict[tuple[str, str, str], EvaluationReport]:
    """{(data set, policy, refiner): report}."""
    paths = {(data, *kind): runs / f"{data}-{kind[0]}-{kind[1]}.json" for data in SETS for kind in BARS}
    return {key: read_report(path) for key, path in paths.items() if path.is_file()}


def draw(found: dict[tuple[str, str, str], EvaluationReport], out: Path) -> None:
    """Groups of bars by data set, 95 % intervals as whiskers."""
    figure, axes = pyplot.subplots(figsize=(8, 3.4))
    for place, (kind, (label, colour)) in enumerate(BARS.items()):
        bars = [(x, found[name, *kind]) for x, name in enumerate(SETS) if (name, *kind) in found]
        middles = [x + (place - 1.5) * WIDTH for x, _ in bars]
        heights = [100 * report.miou for _, report in bars]
        ends = [[100 * abs(report.interval[side] - report.miou) for _, report in bars] for side in (0, 1)]
        axes.bar(middles, heights, WIDTH, color=colour, label=label, yerr=ends, error_kw={"linewidth": 0.8})
    images = {name: max((r.images for (n, *_), r in found.items() if n == name), default=0) for name in SETS}
    axes.set_xticks(range(len(SETS)), [f"{title}\n{images[name]} photos" for name, title in SETS.items()], fontsize=8)
    axes.set_ylabel("mIoU, %")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(reports(Path(sys.argv[1])), PICTURE)
