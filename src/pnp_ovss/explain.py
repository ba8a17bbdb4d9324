"""The pictures of the paper's Fig. 2 and Fig. 3-4: what each stage and each pass looks at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pnp_ovss.classes import parse_classes
from pnp_ovss.errors import OutputError
from pnp_ovss.images import ImageSource
from pnp_ovss.saliency import minmax
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Pass

TILE_PX = 240
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
"""Dark violet to pale yellow, rising evenly in lightness."""


def explain_photo(
    segmenter: Segmenter, image: ImageSource, class_names: str | Iterable[str | Sequence[str]]
) -> dict[str, dict[str, Image.Image]]:
    """{class: {"stages": Fig. 2, "passes": Fig. 3-4}}: attention, + GradCAM, + DropOut, + completion; every pass.

    All classes are prompted together and none is left out by a policy. What the configuration has not (`drops` = 0,
    `completion` = none) is not among the stages.
    """
    first_names = [group[0] for group in parse_classes(class_names)]
    prepared = segmenter.prepare(image, first_names, keep=first_names)
    trace = segmenter.look(prepared)
    attention = segmenter.replace(gradient="none", drops=0).look(prepared).passes[0].maps
    total, config = segmenter.replace(completion="none").sum_maps(trace), segmenter.config
    later = {"+ Saliency DropOut": total} if config.drops else {}
    later |= {"+ completion": segmenter.sum_maps(trace)} if config.completion != "none" else {}
    maps = {"cross-attention": attention, "+ GradCAM": trace.passes[0].maps, **later}
    return {
        name: {
            "stages": _stages(prepared.image, name, {stage: found[k] for stage, found in maps.items()}),
            "passes": _passes(prepared.image, name, k, trace.passes, total[k]),
        }
        for k, name in enumerate(first_names)
    }


def save_pictures(pictures: Mapping[str, Mapping[str, Image.Image]], folder: Path, stem: str) -> list[Path]:
    """Write STEM.NN-CLASS.stages.png and STEM.NN-CLASS.passes.png; NN counts the classes from 1."""
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (name, kinds) in enumerate(pictures.items(), 1):
            slug = re.sub(r"[^\w]+", "-", name)[:40].strip("-") or "class"
            for kind, picture in kinds.items():
                path = folder / f"{stem}.{number:02d}-{slug}.{kind}.png"
                picture.save(path)
                paths.append(path)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; choose another --out") from error
    return paths


def _stages(photo: np.ndarray, name: str, maps: Mapping[str, Tensor]) -> Image.Image:
    return _sheet([[(f"photo: {name}", _tile(photo)), *((stage, _heat(photo, heat)) for stage, heat in maps.items())]])


def _passes(photo: np.ndarray, name: str, k: int, passes: Sequence[Pass], total: Tensor) -> Image.Image:
    seen = [(f"pass {i}: {_percent(p.visible)} of patches", _holes(photo, p.visible)) for i, p in enumerate(passes, 1)]
    maps = [(f"{name}, pass {i}", _heat(photo, p.maps[k])) for i, p in enumerate(passes, 1)]
    return _sheet([[*seen, ("", _tile(photo))], [*maps, ("sum", _heat(photo, total))]])


def _percent(visible: Tensor) -> str:
    return f"{100 * float(visible.float().mean()):.3g} %"


def _size(photo: np.ndarray) -> tuple[int, int]:
    height, width = photo.shape[:2]
    return TILE_PX, max(24, min(2 * TILE_PX, round(TILE_PX * height / width)))


def _tile(photo: np.ndarray) -> Image.Image:
    return Image.fromarray(photo).resize(_size(photo), Image.Resampling.LANCZOS)


def _heat(photo: np.ndarray, heat: Tensor) -> Image.Image:
    """A map, min-max normalised, as colours over the photo in grey."""
    unit = minmax(heat[None].cpu().float())[0].numpy()
    small = np.asarray(Image.fromarray(unit).resize(_size(photo), Image.Resampling.BILINEAR)).clip(0, 1)
    position = small * (len(_HEAT) - 1)
    low = position.astype(int).clip(0, len(_HEAT) - 2)
    colours = _HEAT[low] + (_HEAT[low + 1] - _HEAT[low]) * (position - low)[..., None]
    grey = np.asarray(_tile(photo).convert("L"), dtype=np.float32)[..., None]
    return Image.fromarray((0.35 * grey + 0.65 * colours).clip(0, 255).astype(np.uint8))


def _holes(photo: np.ndarray, visible: Tensor) -> Image.Image:
    mask = Image.fromarray(visible.cpu().numpy().astype(np.uint8) * 255).resize(_size(photo), Image.Resampling.NEAREST)
    return Image.composite(_tile(photo), Image.new("RGB", _size(photo)), mask)


def _sheet(rows: list[list[tuple[str, Image.Image]]]) -> Image.Image:
    """Tiles in rows, a caption above each."""
    font, caption, gap = ImageFont.load_default(13), 20, 6
    tile = rows[0][0][1].size
    sheet = Image.new(
        "RGB", (len(rows[0]) * (tile[0] + gap) + gap, len(rows) * (tile[1] + caption + gap) + gap), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        for c, (text, picture) in enumerate(row):
            x, y = gap + c * (tile[0] + gap), gap + r * (tile[1] + caption + gap)
            pen.text((x, y), text[:34], fill="black", font=font)
            sheet.paste(picture, (x, y + caption))
    return sheet
