"""Table 6: how much the layer and the head matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pnp_ovss.evaluation.paper import read_tables
from pnp_ovss.evaluation.report import EvaluationReport
from pnp_ovss.evaluation.systems import Answer, Query, SegmenterSystem
from pnp_ovss.evaluation.tables import DASH, Table, conditions, percent
from pnp_ovss.vlms.base import Head

Stage = Literal["gradcam", "full"]


@dataclass(frozen=True)
class SensitivitySystem(SegmenterSystem):
    """Answers in one variant a layer's mean over its heads and a head of the configured layer.

    stage `full`: the whole method, each variant with its own dropouts (what Table 6 shows). `gradcam`: the first pass
    only, of all layers and heads from one forward and one backward pass; threshold, blur and refiner as configured.
    every_head: the heads of all layers, not only of the configured one.
    """

    stage: Stage = "gradcam"
    every_head: bool = False

    def settings(self) -> dict[str, Any]:
        """Those of the method, the stage, and which variants there are."""
        return {"sensitivity": self.stage, "every_head": self.every_head, **super().settings()}

    def answer(self, query: Query) -> dict[str, Answer]:
        """Labels of every layer's mean and of the heads."""
        base, prepared = self.segmenter, self.prepare(query)
        if self.stage == "gradcam":
            found = base.look_all(prepared)
        else:
            found = {
                (layer, head): base.replace(layer=layer, head=head).look(prepared)
                for layer, head in self.variants.values()
            }
        results = {name: base.label(found[place]) for name, place in self.variants.items()}
        return {name: Answer(result.labels, result.kept) for name, result in results.items()}

    @cached_property
    def variants(self) -> dict[str, tuple[int, Head]]:
        """Variant name -> layer and head, both from 1."""
        vlm, config = self.segmenter.vlm, self.segmenter.config
        layers = vlm.layers if self.every_head else (config.layer,)
        pairs: list[tuple[int, Head]] = [(layer, "mean") for layer in vlm.layers]
        pairs += [(layer, head) for layer in layers for head in range(1, vlm.heads + 1)]
        return {f"{layer}/{head}": (layer, head) for layer, head in pairs}


def sensitivity_table(reports: Mapping[str, EvaluationReport], stage: Stage) -> Table:
    """Our variants beside the paper's Table 6; `reports` by variant `layer/head`."""
    any_report = next(iter(reports.values()))
    paper = {f"{row.keys['layer']}/{row.keys['head']}": row for row in read_tables()["table6"].rows}
    rows = []
    for name, report in reports.items():
        layer, _, head = name.partition("/")
        quoted = paper[name].values["coco-stuff"] if name in paper else DASH
        rows.append((layer, head, percent(report.miou, report.interval), str(quoted)))
    one = next(iter(paper.values()))
    notes = (
        f"stage {stage}: " + ("the whole method" if stage == "full" else "the first pass only, no dropout"),
        *conditions(
            list(reports.values()),
            one,
            "the whole method; another model's layers and heads: the spread compares, the rows do not",
        ),
    )
    columns = ("layer", "head", f"{any_report.dataset}, here", "coco-stuff, paper")
    return Table("Layer and head (Table 6)", columns, tuple(rows), notes, text_columns=2)
