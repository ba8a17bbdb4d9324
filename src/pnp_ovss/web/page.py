"""The page: fields, buttons and what happens between them (gradio)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr

from pnp_ovss.errors import PnPError
from pnp_ovss.web.desk import KEPT_S, Desk, forget
from pnp_ovss.web.fields import Answer, Offer, Question, make_answer, make_question
from pnp_ovss.web.scripts import ARROWS, GO_TO_ANSWER
from pnp_ovss.web.views import Shown, annotations, class_table, message, seen_picture, step_caption, with_points

_INTRO = """# Masks for any words
Drop a photo, type what to look for, and see how PnP-OVSS finds it. Names may have several words; classes that are not
in the photo get no pixels. Photos stay on the computer that runs this page and are deleted after an hour.
"""

log = logging.getLogger(__name__)


def build_page(desk: Desk, offer: Offer) -> gr.Blocks:
    """The page. Its queue, limits and address are the server's business (`web.server`)."""
    with gr.Blocks(title="PnP-OVSS", analytics_enabled=False, delete_cache=(300, KEPT_S)) as page:
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                question, button = make_question(offer)
            with gr.Column(scale=3, min_width=300):
                result = make_answer()
        if offer.examples:
            pairs = [list(pair) for pair in offer.examples]
            gr.Examples(pairs, list(question.inputs[:2]), label="Examples (from scikit-image)", cache_examples=False)
        _wire(desk, question, button, result)
        _add_endpoint(desk, offer.models[0], question)
        page.load(None, js=ARROWS, api_visibility="private")
    return page


def _add_endpoint(desk: Desk, model: str, question: Question) -> None:
    """`/segment` of gradio's API: a photo and names to the JSON that `pnp-ovss segment` writes, with the preset's settings."""

    def segment(photo: str | None, names: str) -> dict[str, Any]:
        try:
            return desk.answer(photo, names, model)
        except PnPError as error:
            raise gr.Error(str(error)) from error

    trigger, answer = gr.Button(visible=False), gr.JSON(visible=False)
    trigger.click(segment, list(question.inputs[:2]), answer, api_name="segment", concurrency_limit=1)


def _wire(desk: Desk, question: Question, button: gr.Button, result: Answer) -> None:
    inputs = question.inputs

    def run_order(
        photo: str | None,
        classes: str,
        model: str,
        *rest: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> dict[Any, Any]:
        *values, before = rest
        try:
            found = desk.segment(photo, classes, model, chosen_settings(values), lambda text: progress(None, desc=text))
        except PnPError as error:
            return {
                question.errors.get(type(error), result.status): message(str(error), alert=True),
                result.masks: gr.skip(),
            }
        except Exception:
            log.exception("a photo could not be segmented")
            text = "This photo could not be segmented: an error of the program, written to its log. Try another photo."
            return {result.status: message(text, alert=True)}
        forget(before)
        return show_all(found, result)

    def look(shown: Shown | None, step: str | None, wanted: list[str]) -> list[Any]:
        return view(shown, step_index(shown, step), wanted) if shown else [gr.skip()] * 4

    def relabel(shown: Shown | None, threshold: float | None, match: float | None) -> dict[Any, Any]:
        if threshold is None or match is None:  # an emptied field of a number
            return {result.status: gr.skip()}
        again = desk.relabel(shown, threshold, match) if shown else None
        if again is None:
            return {result.status: message("Press Segment: this result is too old.")}
        moved = (result.threshold, result.match)  # by a hand that may still be moving them
        return {part: value for part, value in show_all(again, result).items() if part not in moved}

    clear: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    begun = "Segmenting ..."
    said = [result.status, *question.errors.values()]
    begin = gr.on(
        [button.click, inputs[1].submit], lambda: [message(begun), *[""] * len(question.errors)], None, said, **clear
    )
    answered = begin.then(
        run_order,
        [*inputs, result.shown],
        [*result.all(), *question.errors.values()],
        concurrency_limit=1,
        show_progress_on=[result.masks],
        api_visibility="private",
    )
    answered.then(None, js=GO_TO_ANSWER, **clear)
    old = "Photo, names or options have changed since: this result is of the ones before. Press Segment again."
    gr.on(
        [field.change for field in inputs],
        lambda shown: message(old) if shown else gr.skip(),
        result.shown,
        result.status,
        **clear,
    )
    gr.on(
        [result.threshold.input, result.match.input],  # release knows no keyboard
        relabel,
        [result.shown, result.threshold, result.match],
        result.all(),
        show_progress="hidden",
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_limit=1,
    )
    chosen = [result.shown, result.step, result.wanted]
    for event in (result.step.input, result.wanted.input):
        event(look, chosen, result.view(), **clear, trigger_mode="always_last")


def chosen_settings(values: Sequence[Any]) -> dict[str, Any]:
    """The options as the configuration wants them: whole numbers as int."""
    policy, size, threshold, drops, refine = values
    chosen = {"policy": policy, "size_px": int(size), "threshold": float(threshold), "drops": int(drops)}
    return {**chosen, "refine": refine}


def show_all(found: Shown, result: Answer) -> dict[Any, Any]:
    """Every component for a new result, at its last step."""
    last, names = len(found.steps), found.found(found.steps)
    present = "; ".join(found.found(found.steps[-1:])) or "none of the classes"
    values = dict(zip(result.view(), view(found, last - 1, names), strict=True))
    files = (found.files[kind] for kind in ("labels", "overlay", "json"))
    return {
        result.shown: found,
        result.status: message(f"Done. Found: {present}. {found.advice}".strip()),
        result.step: gr.Radio(step_names(found), value=step_names(found)[-1], visible=last > 1),
        result.threshold: gr.Slider(value=found.threshold, visible=True),
        result.match: gr.Slider(found.lowest_match, 1, value=found.match_threshold, visible=bool(found.lowest_match)),
        result.wanted: gr.CheckboxGroup(names, value=names, visible=bool(names)),
        **values,
        **{
            button: gr.DownloadButton(value=str(path), visible=True)
            for button, path in zip(result.downloads, files, strict=True)
        },
    }


def step_names(shown: Shown) -> list[str]:
    """The steps as they are chosen: numbered, so that no two are alike."""
    return [f"{number} {step.name}" for number, step in enumerate(shown.steps, 1)]


def step_index(shown: Shown, name: str | None) -> int:
    """The place of a chosen step; the last where none is."""
    names = step_names(shown)
    return names.index(name) if name in names else len(names) - 1


def view(shown: Shown, index: int, wanted: Sequence[str]) -> list[Any]:
    """Values of `Answer.view()` for one step."""
    step = shown.steps[min(index, len(shown.steps) - 1)]
    masks, colours = annotations(shown, step, wanted)
    value: Any = (with_points(shown, step), masks)  # what gradio takes, not what it declares
    seen = seen_picture(shown, step)
    return [
        gr.AnnotatedImage(value, color_map=colours),
        step_caption(shown.steps, min(index, len(shown.steps) - 1)),
        class_table(shown, step),
        gr.Image(seen, visible=seen is not None),
    ]
