"""One segmentation with the masks of every step between, for the page's slider: Fig. 2 of the paper, made of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pnp_ovss.images import ImageSource
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import ClassNames, Segmenter
from pnp_ovss.trace import Pass, Prepared, Trace
from pnp_ovss.web.proposals import label_and_look
from pnp_ovss.web.step import LONGEST_PX, Step, shrink_labels

Report = Callable[[str], None]


def segment_in_steps(
    segmenter: Segmenter, image: ImageSource, class_names: ClassNames, *, image_id: str, report: Report
) -> tuple[Segmentation, list[Step], Trace]:
    """The result of `segmenter`, its steps (attention, GradCAM, each drop, blur, refiner), and what it was made of.

    Without a class that competes there is one step, the result. Raises what the segmenter raises.
    """
    prepared = segmenter.prepare(image, class_names, image_name=image_id)
    trace = segmenter.look(prepared, lambda passes: _reported(passes, report))
    report(f"refining with {segmenter.config.refine}")
    result, asked = label_and_look(segmenter, trace)
    final = Step("result", "The labels.", shrink_labels(result.labels))
    if not trace.passes:
        return result, [final], trace
    config = segmenter.config
    shown = segmenter.replace(refine="none", output_px=min(LONGEST_PX, config.output_px))
    paper = shown.replace(completion="none", competition="overlay", blur=0.0)
    steps = [_attention(paper, prepared), *_passes(paper, trace)]
    if config.completion != "none":
        text = "Each patch's saliency becomes that of the patches that look alike (ours, not the paper's)."
        steps.append(_step("completion", text, shown.replace(competition="overlay", blur=0.0), trace))
    blurred = "Masks smoothed by a Gaussian: T of §3.3 and the blur of Table 2."
    if config.competition != "overlay":
        blurred = "First foreground or not, then whose map has more of its mass there (ours); blurred as in Table 2."
    steps.append(Step("blur", blurred, shrink_labels(shown.label(trace).labels)))
    if config.refine != "none":
        text = "Edges moved to those of the photo: the result."
        if asked:
            text = "The proposals that were taken, elsewhere the Dense CRF's masks: the result."
        steps += [*asked, Step(f"refiner {config.refine}", text, final.labels)]
    return result, steps, trace


def _reported(passes: Iterator[Pass], report: Report) -> Iterator[Pass]:
    for seen in passes:
        report(f"looked at {100 * float(seen.visible.float().mean()):.3g} % of the patches")
        yield seen


def _attention(segmenter: Segmenter, prepared: Prepared) -> Step:
    """Masks of the plain cross-attention, first row of Table 5."""
    plain = segmenter.replace(gradient="none", drops=0)
    text = (
        f"Cross-attention of layer {plain.config.layer}, head {plain.config.head}: where the words look, before any "
        "gradient."
    )
    return _step("attention", text, segmenter, plain.look(prepared))


def _passes(segmenter: Segmenter, trace: Trace) -> list[Step]:
    """GradCAM, and the sum after each Saliency DropOut."""
    text = "Attention weighted by its gradient (Eq. 1): what raises the match of photo and text."
    steps = [_step("GradCAM", text, segmenter, trace.first(1))]
    for drop, last in enumerate(trace.passes[1:], 1):
        share = 100 * float(last.visible.float().mean())
        text = f"The most salient patches are black, {share:.3g} % are left; the maps of {drop + 1} passes are summed."
        steps.append(_step(f"drop {drop}", text, segmenter, trace.first(drop + 1)))
    return steps


def _step(name: str, text: str, segmenter: Segmenter, trace: Trace) -> Step:
    """Threshold and argmax of these passes, without blur and refiner: how every row of Table 5 ends."""
    return Step(name, text, shrink_labels(segmenter.label(trace).labels), trace.passes[-1].visible.cpu().numpy())
