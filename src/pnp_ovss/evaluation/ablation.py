"""Table 5: what each step of the method adds. The passes are computed once and shared by all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pnp_ovss.evaluation.paper import read_tables
from pnp_ovss.evaluation.report import EvaluationReport
from pnp_ovss.evaluation.systems import Answer, Query, SegmenterSystem
from pnp_ovss.evaluation.tables import DASH, Table, conditions, percent
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.trace import Trace

ATTENTION, SOFTMAX = "attention", "attention, softmax over classes"
GRADCAM, BLUR, CRF, BOTH = "gradcam", "blur", "crf", "blur+crf"
COMPLETION, COMPETITION, WHOLE = "completion", "competition", "whole"


@dataclass(frozen=True)
class AblationSystem(SegmenterSystem):
    """Answers in one variant a row of Table 5.

    Every row ends in the same threshold and argmax. `attention` is plain cross-attention without a gradient (and the
    same with the softmax over classes that the text after Fig. 3 speaks of), `gradcam` the first pass, `drop1` ... the
    sum of that many more; `blur`, `crf` and `blur+crf` refine the sum of all. Up to the last drop nothing is blurred or
    refined. Where the configuration has them, three rows more are ours: the blurred sum after `completion`, the same with
    the other `competition`, and the `whole` method, refined.
    """

    def settings(self) -> dict[str, Any]:
        """Those of the whole method; the variants say what is left out."""
        return {"ablation": True, **super().settings()}

    def answer(self, query: Query) -> dict[str, Answer]:
        """Labels of every row."""
        whole = self.segmenter
        prepared = self.prepare(query)
        trace = whole.look(prepared)
        plain = whole.replace(gradient="none", softmax_over_classes=False, drops=0)
        paper = whole.replace(completion="none", competition="overlay")
        bare = paper.replace(blur=0.0, refine="none")
        rows = {
            ATTENTION: bare.label(plain.look(prepared)),
            SOFTMAX: bare.label(plain.replace(softmax_over_classes=True).look(prepared)),
            GRADCAM: bare.label(trace.first(1)),
            **{f"drop{drop}": bare.label(trace.first(drop + 1)) for drop in range(1, whole.config.drops + 1)},
            BLUR: paper.replace(refine="none").label(trace),
            CRF: paper.replace(blur=0.0).label(trace),
            BOTH: paper.label(trace),
            **self._ours(trace),
        }
        return {name: Answer(result.labels, result.kept) for name, result in rows.items()}

    def _ours(self, trace: Trace) -> dict[str, Segmentation]:
        """The rows of what the paper has not, where the configuration has it."""
        whole, config = self.segmenter, self.segmenter.config
        rows = {}
        if config.completion != "none":
            rows[COMPLETION] = whole.replace(competition="overlay", refine="none").label(trace)
        if config.competition != "overlay":
            rows[COMPETITION] = whole.replace(refine="none").label(trace)
        return {**rows, WHOLE: whole.label(trace)} if rows else {}


def ablation_table(reports: Mapping[str, EvaluationReport]) -> Table:
    """Our rows beside the paper's Table 5; `reports` by variant, in the order of the rows."""
    any_report = next(iter(reports.values()))
    paper = {row.keys["stage"]: row for row in read_tables()["table5"].rows}
    drops = sum(name.startswith("drop") for name in reports)
    heads = ("context", "coco-stuff")
    rows = []
    for name, report in reports.items():
        quoted = paper[name].values if name in paper else {}
        ours = percent(report.miou, report.interval)
        rows.append(
            (_title(name, drops, any_report.refine), ours, *(str(quoted.get(column, DASH)) for column in heads))
        )
    one = next(iter(paper.values()))
    notes = conditions(list(reports.values()), one, "all validation images")
    columns = (f"step (refiner {any_report.refine})", f"{any_report.dataset}, here", *(f"{h}, paper" for h in heads))
    return Table("Ablation (Table 5)", columns, tuple(rows), notes)


def _title(variant: str, drops: int, refine: str) -> str:
    refiner = "CRF" if refine.startswith("densecrf") else refine
    titles = {
        GRADCAM: "+ GradCAM",
        BLUR: f"+ Drop {drops} + Blur",
        CRF: f"+ Drop {drops} + {refiner}",
        BOTH: f"+ Drop {drops} + Blur + {refiner}",
        COMPLETION: f"+ Drop {drops} + Blur, completed (ours)",
        COMPETITION: f"+ Drop {drops} + Blur, completed, equal mass (ours)",
        WHOLE: f"the same + {refiner} (ours)",
    }
    return titles.get(variant, variant.replace("drop", "+ Drop "))
