"""What the page shows of a step: masks over the photo, what the model saw, a list of the classes."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pnp_ovss.images import resize_to
from pnp_ovss.masks.labels import class_shares
from pnp_ovss.masks.regions import shrink
from pnp_ovss.pictures.heat import draw_holes
from pnp_ovss.pictures.palette import css_colour
from pnp_ovss.web.step import Step, display_size

OPACITY = 0.5


@dataclass
class Shown:
    """One tab's last result. photo: (h, w, 3) uint8 at display size. folder: its files, removed with it.

    threshold, match_threshold: what decided it. lowest_match: under it no class was looked at. verdicts: what decided about
    each name in the result, and what speaks against it. advice: how to go on, or "".
    """

    photo: NDArray[np.uint8]
    class_names: tuple[str, ...]
    match_scores: dict[str, float | None]
    steps: list[Step]
    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    threshold: float = 0.0
    match_threshold: float = 0.0
    lowest_match: float = 0.0
    verdicts: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""

    def found(self, steps: Sequence[Step]) -> list[str]:
        """The classes that have a pixel in any of these steps, in their order."""
        present = {int(label) for step in steps for label in np.unique(step.labels)}
        return [name for label, name in enumerate(self.class_names, 1) if label in present]


def shrink_photo(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) at display size."""
    return resize_to(image, display_size((image.shape[0], image.shape[1])))


def annotations(
    shown: Shown, step: Step, wanted: Collection[str]
) -> tuple[list[tuple[NDArray[np.float32], str]], dict[str, str]]:
    """[(opacity (h, w), "cat 34.2%")] of the wanted classes of a step, and {that text: "#rrggbb"}."""
    masks, colours = [], {}
    for label, name, share in _present(shown, step):
        if name in wanted:
            caption = f"{name} {_percent(share)}"
            mask = step.labels == label
            outline = mask & ~shrink(mask, 2)
            masks.append((np.where(outline, 1.0, mask * OPACITY).astype(np.float32), caption))
            colours[caption] = css_colour(label)
    return masks, colours


def seen_picture(shown: Shown, step: Step) -> Image.Image | None:
    """The photo with the patches black that the step's pass could not see; None for steps without a pass."""
    if step.seen is None:
        return None
    return draw_holes(Image.fromarray(shown.photo), step.seen)


def with_points(shown: Shown, step: Step) -> NDArray[np.uint8]:
    """The photo with a dot of the class's colour at each point that was asked about."""
    if not step.points:
        return shown.photo
    picture = Image.fromarray(shown.photo)
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    radius = max(width, height) / 100 + 2
    for label, x, y in step.points:
        for size, colour in ((radius + 3, "black"), (radius + 2, "white"), (radius, css_colour(label))):
            draw.ellipse([x * width - size, y * height - size, x * width + size, y * height + size], fill=colour)
    return np.asarray(picture)


def step_caption(steps: Sequence[Step], index: int) -> str:
    """HTML: which step this is, what it does, and its notes."""
    step = steps[index]
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in step.notes)
    text = f"<p><b>Step {index + 1} of {len(steps)}: {html.escape(step.name)}.</b> {html.escape(step.text)}</p>"
    return f"{text}<ul>{notes}</ul>" if notes else text


def class_table(shown: Shown, step: Step) -> str:
    """HTML table of all asked classes: colour, name, share of the photo, match score, what decided or is doubtful."""
    shares = {name: share for _, name, share in _present(shown, step)}
    rows = [_row(shown, label, name, shares.get(name)) for label, name in enumerate(shown.class_names, 1)]
    columns = ("class", "share", "match", "what decided")
    head = "".join(f"<th scope='col'>{column}</th>" for column in columns)
    return f"<table class='classes'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def message(text: str, *, alert: bool = False) -> str:
    """HTML of one sentence that screen readers announce."""
    role = "alert" if alert else "status"
    return f"<p role='{role}' class='{role}'>{html.escape(text)}</p>" if text else ""


def _row(shown: Shown, label: int, name: str, share: float | None) -> str:
    score = shown.match_scores.get(name)
    swatch = f"<span class='swatch' style='background:{css_colour(label)}' aria-hidden='true'></span>"
    verdict = html.escape(shown.verdicts.get(name, ""))
    cells = [_percent(share) if share else "none", "" if score is None else f"{score:.2f}", _marked(verdict)]
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th scope='row'>{swatch if share else ''}{html.escape(name)}</th>{values}</tr>"


def _marked(verdict: str) -> str:
    """A verdict, its doubts set apart; "" for what was found without any."""
    found, word, doubts = verdict.partition("doubtful: ")
    return f"<span class='doubt'>? doubtful: {doubts}</span>" if word else "" if found == "found" else found


def _present(shown: Shown, step: Step) -> list[tuple[int, str, float]]:
    """(label, name, share) of the classes with a pixel in this step."""
    shares = class_shares(step.labels, shown.class_names)
    return [(label, name, share) for label, (name, share) in enumerate(shares.items(), 1) if share]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"
