"""The page: fields, buttons and what happens between them (gradio)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pnp_ovss.errors import PnPError
from pnp_ovss.presets import get_preset, resolve
from pnp_ovss.web.desk import KEPT_S, Desk, Order, forget
from pnp_ovss.web.views import Shown, annotations, class_table, message, seen_picture, step_caption

SIZES_PX = (224, 768)

CSS = """
.gradio-container { max-width: 72rem !important; margin: auto; }
.classes { width: 100%; border-collapse: collapse; }
.classes th, .classes td { text-align: left; padding: .2rem .5rem; }
.classes tbody th { font-weight: 600; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 1em; height: 1em; margin-right: .5em; border: 1px solid #555; }
.alert { border-left: 4px solid #c62828; padding: .4rem .8rem; font-weight: 600; } .status { padding: .4rem 0; }
:focus-visible { outline: 3px solid #0072b2 !important; outline-offset: 2px; }
"""

_INTRO = """# Masks for any words
Drop a photo, type what to look for, and see how PnP-OVSS finds it. Names may have several words; classes that are not
in the photo get no pixels. Photos stay on the computer that runs this page and are deleted after an hour.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """What the page offers. models: names of `Desk.segmenter`, the first preselected. examples: (photo, names)."""

    models: Sequence[str]
    examples: Sequence[tuple[str, str]] = ()


class PhotoField(gr.Image):
    """gradio's image field that leaves reading to us: any file that `read_image` takes, our sentence for the others."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        """The uploaded file's path, as it is."""
        return payload.path if payload else None


@dataclass(frozen=True)
class _Result:
    """The components that show a result."""

    shown: gr.State
    status: gr.HTML
    masks: gr.AnnotatedImage
    step: gr.Slider
    caption: gr.HTML
    wanted: gr.CheckboxGroup
    table: gr.HTML
    seen: gr.Image
    downloads: tuple[gr.DownloadButton, ...]

    def all(self) -> list[Any]:
        return [self.shown, self.status, self.step, self.wanted, *self.view(), *self.downloads]

    def view(self) -> list[Any]:
        return [self.masks, self.caption, self.table, self.seen]


def build_page(desk: Desk, offer: Offer) -> gr.Blocks:
    """The page. Its queue, limits and address are the server's business (`web.server`)."""
    with gr.Blocks(title="PnP-OVSS", analytics_enabled=False, delete_cache=(300, KEPT_S)) as page:
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                photo, classes, button, options = _question(offer)
            with gr.Column(scale=3, min_width=300):
                result = _answer()
        if offer.examples:
            pairs = [list(pair) for pair in offer.examples]
            gr.Examples(pairs, [photo, classes], label="Examples (from scikit-image)", cache_examples=False)
        _wire(desk, (photo, classes, *options), button, result)
    return page


def _question(offer: Offer) -> tuple[gr.Image, gr.Textbox, gr.Button, list[Any]]:
    photo = PhotoField(
        type="filepath", sources=["upload", "clipboard"], label="Photo", height=260, buttons=[], elem_id="photo"
    )
    classes = gr.Textbox(
        label="Class names", info="separated by commas; absent ones may be among them",
        placeholder="cat, traffic light, sofa", lines=2, max_lines=6, max_length=8000,
    )  # fmt: skip
    button = gr.Button("Segment", variant="primary")
    with gr.Accordion("Options", open=False):
        options = _options(offer.models)
    return photo, classes, button, options


def _options(models: Sequence[str]) -> list[Any]:
    config = preset_config(models[0])
    model = gr.Dropdown(list(models), value=models[0], label="Model")
    policy = gr.Radio(
        [("only classes that the model finds in the photo", "itm"), ("all classes", "all")],
        value=config.policy, label="Which classes compete",
    )  # fmt: skip
    size = gr.Slider(*SIZES_PX, value=config.size_px, step=16, label="Input side, px")
    threshold = gr.Slider(0, 1, value=config.threshold, step=0.01, label="Threshold T")
    drops = gr.Slider(0, 8, value=config.drops, step=1, label="Drops of Saliency DropOut")
    refine = gr.Radio(
        [("dense CRF", "densecrf"), ("PAMR", "pamr"), ("SAM (trained on masks)", "sam"), ("none", "none")],
        value=config.refine,
        label="Refiner",
    )

    def follow(name: str) -> list[Any]:
        chosen = preset_config(name)
        return [chosen.policy, chosen.size_px, chosen.threshold, chosen.drops, chosen.refine]

    model.change(follow, model, [policy, size, threshold, drops, refine], queue=False, api_visibility="private")
    return [model, policy, size, threshold, drops, refine]


def preset_config(model: str) -> Any:
    """The settings that a model's name, folder or file stands for, as loading resolves them."""
    from pnp_ovss.vlms.checkpoints.loading import settle

    return resolve(settle(get_preset(model)))


def _answer() -> _Result:
    status = gr.HTML(message("Nothing segmented yet."))
    masks = gr.AnnotatedImage(label="Masks", show_legend=True, height=420, elem_id="masks")
    step = gr.Slider(1, 2, value=1, step=1, label="Step of the method", interactive=True, visible=False, elem_id="step")
    caption = gr.HTML()
    wanted = gr.CheckboxGroup([], label="Show", visible=False)
    table = gr.HTML()
    seen = gr.Image(label="What the model saw in this pass", interactive=False, visible=False, height=240, buttons=[])
    with gr.Row():
        kinds = (("labels", "Masks (PNG)"), ("overlay", "Overlay (PNG)"), ("json", "Numbers (JSON)"))
        downloads = tuple(
            gr.DownloadButton(text, visible=False, elem_id=f"get-{kind}", size="sm") for kind, text in kinds
        )
    shown = gr.State(None, time_to_live=KEPT_S, delete_callback=forget)
    return _Result(shown, status, masks, step, caption, wanted, table, seen, downloads)


def _wire(desk: Desk, inputs: tuple[Any, ...], button: gr.Button, result: _Result) -> None:
    def segment(
        photo: str | None,
        classes: str,
        model: str,
        *rest: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> dict[Any, Any]:
        *values, before = rest
        order = Order(photo, classes, model, chosen_settings(values))
        try:
            found = desk.segment(order, lambda text: progress(None, desc=text))
        except PnPError as error:
            return {result.status: message(str(error), alert=True)}
        except Exception:
            log.exception("a photo could not be segmented")
            text = "This photo could not be segmented: an error of the program, written to its log. Try another photo."
            return {result.status: message(text, alert=True)}
        forget(before)
        return show_all(found, result)

    def look(shown: Shown | None, step: float, wanted: list[str]) -> list[Any]:
        return view(shown, int(step) - 1, wanted) if shown else [gr.skip()] * 4

    order: dict[str, Any] = {"inputs": [*inputs, result.shown], "outputs": result.all(), "api_visibility": "private"}
    gr.on(
        [button.click, inputs[1].submit],
        segment,
        **order,
        concurrency_limit=1,
        show_progress_on=[result.masks],
        scroll_to_output=True,
    )
    changed: dict[str, Any] = {"inputs": [result.shown, result.step, result.wanted], "outputs": result.view()}
    for event in (result.step.change, result.wanted.input):
        event(
            look, **changed, queue=False, show_progress="hidden", api_visibility="private", trigger_mode="always_last"
        )


def chosen_settings(values: Sequence[Any]) -> dict[str, Any]:
    """The options as the configuration wants them: whole numbers as int."""
    policy, size, threshold, drops, refine = values
    chosen = {"policy": policy, "size_px": int(size), "threshold": float(threshold), "drops": int(drops)}
    return {**chosen, "refine": refine}


def show_all(found: Shown, result: _Result) -> dict[Any, Any]:
    """Every component for a new result, at its last step."""
    last, names = len(found.steps), found.found(found.steps)
    present = "; ".join(found.found(found.steps[-1:])) or "none of the classes"
    values = dict(zip(result.view(), view(found, last - 1, names), strict=True))
    files = (found.files[kind] for kind in ("labels", "overlay", "json"))
    return {
        result.shown: found,
        result.status: message(f"Done. Found: {present}."),
        result.step: gr.Slider(1, max(2, last), value=last, step=1, visible=last > 1),
        result.wanted: gr.CheckboxGroup(names, value=names, visible=bool(names)),
        **values,
        **{
            button: gr.DownloadButton(value=str(path), visible=True)
            for button, path in zip(result.downloads, files, strict=True)
        },
    }


def view(shown: Shown, index: int, wanted: Sequence[str]) -> list[Any]:
    """Values of `_Result.view()` for one step."""
    step = shown.steps[min(index, len(shown.steps) - 1)]
    masks, colours = annotations(shown, step, wanted)
    value: Any = (shown.photo, masks)  # what gradio takes, not what it declares
    seen = seen_picture(shown, step)
    return [
        gr.AnnotatedImage(value, color_map=colours),
        step_caption(shown.steps, min(index, len(shown.steps) - 1)),
        class_table(shown, step),
        gr.Image(seen, visible=seen is not None),
    ]
