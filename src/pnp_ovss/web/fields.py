"""The page's fields and the components that show a result (gradio); what happens between them is `web.page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pnp_ovss.errors import ClassNameError, ImageError, PnPError
from pnp_ovss.presets import resolve
from pnp_ovss.spec import SegmenterSpec
from pnp_ovss.web.desk import KEPT_S, forget
from pnp_ovss.web.views import message

SIZES_PX = (224, 768)

CSS = """
.gradio-container { max-width: 72rem !important; margin: auto; }
.classes { width: 100%; border-collapse: collapse; }
.classes th, .classes td { text-align: left; padding: .2rem .4rem; }
.classes tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 6.5em; } .classes td { overflow-wrap: anywhere; }
@media (max-width: 30rem) { .classes { font-size: .85rem; } }
.doubt { border-left: 4px solid #b26a00; padding-left: .4rem; }
.swatch { display: inline-block; width: 1em; height: 1em; margin-right: .5em; border: 1px solid #555; }
.alert { border-left: 4px solid #c62828; padding: .4rem .8rem; font-weight: 600; } .status { padding: .4rem 0; }
.block.field-error:not(:has([role])) { display: none; }
button, label:has(input[type=radio]), label:has(input[type=checkbox]) { min-height: 32px; }
input[type=range], input[type=number] { min-height: 32px; } input[type=range]::-webkit-slider-thumb { border: 2px solid #0072b2; }
input[type=radio], input[type=checkbox] { border-color: #8a8a8a !important; } .tab-like-container { height: auto !important; }
:focus-visible { outline: 3px solid #0072b2 !important; outline-offset: 2px; }
"""


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
class Question:
    """inputs: photo, names and options. errors: where what is wrong with a field is said, by the kind of error."""

    inputs: tuple[Any, ...]
    errors: Mapping[type[PnPError], gr.HTML]


@dataclass(frozen=True)
class Answer:
    """The components that show a result."""

    shown: gr.State
    status: gr.HTML
    masks: gr.AnnotatedImage
    step: gr.Radio
    threshold: gr.Slider
    match: gr.Slider
    caption: gr.HTML
    wanted: gr.CheckboxGroup
    table: gr.HTML
    seen: gr.Image
    downloads: tuple[gr.DownloadButton, ...]

    def all(self) -> list[Any]:
        """All of them."""
        return [
            self.shown, self.status, self.step, self.threshold, self.match, self.wanted, *self.view(), *self.downloads
        ]  # fmt: skip

    def view(self) -> list[Any]:
        """Those that differ from step to step."""
        return [self.masks, self.caption, self.table, self.seen]


def make_question(offer: Offer) -> tuple[Question, gr.Button]:
    """The fields to fill in and the button."""
    photo = PhotoField(
        type="filepath", sources=["upload", "clipboard"], label="Photo", height=260, buttons=[], elem_id="photo"
    )
    photo_error = gr.HTML(elem_classes="field-error")
    classes = gr.Textbox(
        label="Class names", info="separated by commas; absent ones may be among them. Enter segments",
        placeholder="cat, traffic light, sofa", lines=1, max_lines=1, max_length=8000, elem_id="names",
    )  # fmt: skip
    names_error = gr.HTML(elem_classes="field-error")
    button = gr.Button("Segment", variant="primary")
    with gr.Accordion("Options", open=False):
        options = _options(offer.models)
    return Question((photo, classes, *options), {ImageError: photo_error, ClassNameError: names_error}), button


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
    return resolve(SegmenterSpec(model=model).preset())


def make_answer() -> Answer:
    """The components that show a result, most of them hidden until there is one."""
    status = gr.HTML(message("Nothing segmented yet."))
    masks = gr.AnnotatedImage(label="Masks", show_legend=True, height=420, elem_id="masks")
    step = gr.Radio([], label="Step of the method", visible=False, elem_id="step")
    with gr.Row():
        threshold = gr.Slider(0, 1, step=0.01, label="Threshold T, at once", visible=False, elem_id="threshold-now")
        match = gr.Slider(0, 1, step=0.01, label="Match at least, at once", visible=False, elem_id="match-now")
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
    return Answer(shown, status, masks, step, threshold, match, caption, wanted, table, seen, downloads)
