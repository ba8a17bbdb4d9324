"""Tables of numbers before they are drawn: ours beside the paper's, with what each figure was made under."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pnp_ovss.evaluation.intervals import Interval
from pnp_ovss.evaluation.paper import PaperRow, read_tables, validation_images
from pnp_ovss.evaluation.report import Bounds, EvaluationReport
from pnp_ovss.refiners import TRAINED_ON_MASKS
from pnp_ovss.words import counted

DASH = "-"
OPEN, ORACLE = "mIoU, open", "mIoU, oracle"
ORACLE_NOTE = (
    "oracle: only the classes of each image's ground truth compete, as in the scripts behind the paper's own rows, where all "
    "names stood in the prompt; open: every other policy. The two are never comparable."
)
MASKS_NOTE = (
    f"{TRAINED_ON_MASKS}: a model that learned from mask labels took part in these figures; they are never comparable with "
    "mask-free ones."
)
KEPT_NOTE = "here only the ground truth's names stood in the prompt: easier than the paper's own protocol, which --recipe follows"


@dataclass(frozen=True)
class Table:
    """Text cells under column heads; the first `text_columns` are read, the others are figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    text_columns: int = 1


def percent(value: float | None, bounds: Bounds | None = None) -> str:
    """A share as per cent with its interval, as in the paper's tables.

    >>> percent(0.5251, (0.501, 0.549))
    '52.5 [50.1, 54.9]'
    """
    if value is None:
        return DASH
    if bounds is None or None in bounds:
        return f"{100 * value:.1f}"
    low, high = (100 * (bound or 0.0) for bound in bounds)
    return f"{100 * value:.1f} [{low:.1f}, {high:.1f}]"


def signed(interval: Interval) -> str:
    """A difference of shares in percentage points, with its interval, and `*` if it excludes zero."""
    text = f"{100 * interval.value:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return f"{text} *" if interval.excludes(0) else text


def beside_paper(reports: Sequence[EvaluationReport]) -> Table:
    """Our figures on one data set above the paper's rows that have it: Tables 3 and 8, or 4 for the unseen classes."""
    dataset, _, part = reports[0].dataset.partition("/")
    ours = tuple(_our_row(report) for report in reports)
    quoted = [row for row in _paper_rows(part) if dataset in row.values]
    rows = (*ours, *(_paper_row(row, dataset) for row in quoted))
    columns = ("system", "policy", "px", "images", OPEN, ORACLE)
    paper = "(n): images of the usual validation split; the paper prints no number; px: short side of the input"
    own = dict.fromkeys(note for report in reports for note in (*report.notes, *report.recipe, *_protocol(report)))
    trained = [
        *(report.trained_on_masks for report in reports),
        *(bool(row.keys.get("dense_labels")) for row in quoted),
    ]
    table = Table(f"{reports[0].dataset}: here, and in the paper", columns, rows, (*own, paper, ORACLE_NOTE), 2)
    return _marked(table, trained)


def _marked(table: Table, trained: Sequence[bool]) -> Table:
    """The table with its rows that a model trained on masks took part in last and marked in a column, if there are any."""
    if not any(trained):
        return table
    order = sorted(range(len(trained)), key=trained.__getitem__)
    at = table.text_columns
    rows = [(*table.rows[i][:at], TRAINED_ON_MASKS if trained[i] else DASH, *table.rows[i][at:]) for i in order]
    columns = (*table.columns[:at], "masks", *table.columns[at:])
    return Table(table.title, columns, tuple(rows), (*table.notes, MASKS_NOTE), at + 1)


def conditions(reports: Sequence[EvaluationReport], paper: PaperRow, what: str) -> tuple[str, ...]:
    """Under variants of one run beside rows of the paper: what both were made under. what: the paper's images or method."""
    ours = reports[0]
    return (
        f"here: {ours.model}, {ours.size} px, policy {ours.policy}, {counted(ours.images, 'image')}",
        f"paper: {paper.checkpoint}, {paper.size} px, policy {paper.policy}, {what}",
        *ours.notes,
        ORACLE_NOTE,
        *masks_note(reports),
    )


def masks_note(reports: Iterable[EvaluationReport]) -> tuple[str, ...]:
    """What is to be said under figures of which some are of a model trained on masks."""
    return (MASKS_NOTE,) if any(report.trained_on_masks for report in reports) else ()


def _protocol(report: EvaluationReport) -> tuple[str, ...]:
    """In what an oracle's run of the method is not the paper's protocol."""
    kept = report.policy == "oracle" and report.config.get("config", {}).get("prompted") == "kept"
    return (KEPT_NOTE,) if kept else ()


def summary(report: EvaluationReport) -> Table:
    """All metrics of one report."""
    rows = [
        ("mIoU", percent(report.miou, report.interval)),
        ("mIoU without background", percent(report.miou_without_background, report.interval_without_background)),
        ("pixel accuracy", percent(report.pixel_accuracy)),
        ("mean accuracy", percent(report.mean_accuracy)),
        ("frequency-weighted IoU", percent(report.frequency_weighted_iou)),
        ("class presence, precision", percent(report.presence["precision"])),
        ("class presence, recall", percent(report.presence["recall"])),
        ("class presence, micro-F1", percent(report.presence["micro_f1"])),
        ("class presence, average precision of the scores", percent(report.presence["ap"])),
        ("names kept and present an image", f"{report.presence['kept']:.1f}, {report.presence['present']:.1f}"),
        ("found and without a pixel", _of(report.survival, "no_pixel")),
        ("found and under a tenth of its area", _of(report.survival, "under_tenth")),
        ("images", f"{report.images} ({report.failed} failed)"),
        ("seconds per image", DASH if report.seconds_per_image is None else f"{report.seconds_per_image:.2f}"),
        ("void", report.void),
        ("settings", report.config_hash),
    ]
    title = f"{report.dataset}, {describe(report)}"
    return Table(title, ("", "per cent, 95 % interval over images"), tuple(rows), report.notes)


def presence_by_list(report: EvaluationReport) -> Table | None:
    """Presence by the number of names that a photo is asked for; None where the policy asked the model nothing."""
    if report.presence["ap"] is None:
        return None
    columns = ("names in the list", "precision", "recall", "micro-F1", "AP", "kept an image", "present an image")
    rows = tuple(
        (
            f"{row['names']:.0f}",
            *(percent(row[name]) for name in ("precision", "recall", "micro_f1", "ap")),
            *(f"{row[name]:.1f}" for name in ("kept", "present")),
        )
        for row in report.presence_by_list
    )
    note = "a shorter list holds the image's own classes and others at random; AP: of all pairs of image and name"
    return Table(f"{report.dataset}: which names are there, {describe(report)}", columns, rows, (note,))


def _of(survival: Mapping[str, int], name: str) -> str:
    return f"{survival[name]} of {survival['found']}"


def splits(report: EvaluationReport) -> Table | None:
    """Our mean over the paper's class splits beside its Table 4 and ViL-Seg's row; None where it has none."""
    if not report.splits:
        return None
    rows = [
        (f"{name} classes", f"here: {report.model}", *_either(report.policy, percent(value)))
        for name, value in report.splits.items()
    ]
    trained = [report.trained_on_masks] * len(rows)
    tables = read_tables()
    quoted = [("unseen classes", row) for row in tables["table4"].rows]
    quoted += [("vil-seg classes", row) for row in tables["table3"].find(system="ViL-Seg")]
    for split, row in quoted:
        if report.dataset in row.values:
            figure = _either(row.policy, str(row.values[report.dataset]))
            system = row.system + (f", {row.checkpoint}" if row.checkpoint else "")
            rows.append((split, system, *figure))
            trained.append(bool(row.keys.get("dense_labels")))
    notes = ("here: all classes compete, the mean is over the split; the densely supervised saw the other classes",)
    table = Table("Class splits (Table 4, supplements 9 and 11)", ("", "", OPEN, ORACLE), tuple(rows), notes, 2)
    return _marked(table, trained)


def per_class(report: EvaluationReport) -> Table:
    """IoU of each class, with the number of images that have it."""
    rows = tuple(
        (name, str(report.images_per_class.get(name, DASH)), percent(iou)) for name, iou in report.per_class.items()
    )
    return Table("Classes", ("class", "images", "IoU"), rows)


def compare(reports: Sequence[EvaluationReport], differences: Mapping[int, Interval]) -> Table:
    """Several reports side by side, and the paired difference of each to the first where it is known."""
    labels = tuple(str(number) for number in range(1, len(reports) + 1))

    rows = [
        *(
            (name, *(str(getattr(report, name) or DASH) for report in reports))
            for name in ("dataset", "model", "method", "policy", "refine", "size", "void")
        ),
        *(
            [("masks", *(TRAINED_ON_MASKS if r.trained_on_masks else DASH for r in reports))]
            if masks_note(reports)
            else []
        ),
        ("images", *(str(report.images) for report in reports)),
        ("mIoU", *(percent(report.miou, report.interval) for report in reports)),
        ("mIoU without background", *(percent(r.miou_without_background) for r in reports)),
        ("pixel accuracy", *(percent(report.pixel_accuracy) for report in reports)),
        ("presence, micro-F1", *(percent(report.presence["micro_f1"]) for report in reports)),
        ("seconds per image", *(f"{r.seconds_per_image or 0:.2f}" for r in reports)),
    ]
    if differences:
        cells = (signed(differences[i]) if i in differences else DASH for i in range(len(reports)))
        rows.append(("mIoU against 1, paired", *cells))
    names = dict.fromkeys(name for report in reports for name in report.per_class)
    rows += [(name, *(percent(report.per_class.get(name)) for report in reports)) for name in names]
    notes = ["* the 95 % interval of the paired difference excludes zero"] if differences else []
    if len({report.policy == "oracle" for report in reports}) > 1:
        notes.append(f"Not comparable: {ORACLE_NOTE}")
    return Table("Comparison", ("", *labels), tuple(rows), (*notes, *masks_note(reports)))


def describe(report: EvaluationReport) -> str:
    """What made a report, in a few words."""
    parts = [report.model, f"method {report.method}" if report.method else "", f"policy {report.policy}"]
    parts += [f"refine {report.refine}" if report.refine else "", f"{report.size} px" if report.size else ""]
    return ", ".join(part for part in [*parts, report.variant] if part)


def _paper_rows(part: str) -> tuple[PaperRow, ...]:
    """The rows about a whole data set, or about one of the class splits."""
    tables = read_tables()
    if part == "unseen":
        return tables["table4"].rows
    vil_seg = tables["table3"].find(system="ViL-Seg")  # on its own classes only
    if part == "vil-seg":
        return vil_seg
    return tuple(row for name in ("table3", "table8") for row in tables[name].rows if row not in vil_seg)


def _our_row(report: EvaluationReport) -> tuple[str, ...]:
    size = str(report.size) if report.size else DASH
    system = f"here: PnP-OVSS, {report.model}" if report.method else f"here: {report.model}"
    figure = percent(report.miou, report.interval)
    return (system, report.policy, size, str(report.images), *_either(report.policy, figure))


def _paper_row(row: PaperRow, dataset: str) -> tuple[str, ...]:
    source = f" (by [{row.keys['by']}])" if "by" in row.keys else ""
    system = f"{row.system}{source}" + (f", {row.checkpoint}" if row.checkpoint else "")
    cells = (system, row.policy, row.size or DASH, f"({validation_images(dataset)})")
    return (*cells, *_either(row.policy, str(row.values[dataset])))


def _either(policy: str, figure: str) -> tuple[str, str]:
    """A figure in the open or in the oracle column, never in both."""
    return (DASH, figure) if policy == "oracle" else (figure, DASH)
