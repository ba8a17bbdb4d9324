"""The pictures of the paper's Fig. 2 and Fig. 3-4: what each stage and each pass looks at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from pnp_ovss.automatic import Automatic, asked_classes
from pnp_ovss.files import write_atomically
from pnp_ovss.images import ImageSource
from pnp_ovss.pictures.heat import draw_heat, draw_holes
from pnp_ovss.pictures.labels_image import png_bytes
from pnp_ovss.pictures.sheet import beside, on_white, stacked, words
from pnp_ovss.saliency import minmax
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Pass

TILE_PX = 240
SLUG_BYTES = 36
"""Of a class's name in a file's: with a stem of `outputs.LONGEST_BYTES` and the endings a file system's 255."""
_GAP_PX = 6


def explain_photo(
    segmenter: Segmenter, image: ImageSource, class_names: str | Iterable[str | Sequence[str]]
) -> dict[str, dict[str, Image.Image]]:
    """{class: {"stages": Fig. 2, "passes": Fig. 3-4}}: attention, + GradCAM, + DropOut, + completion; every pass.

    All classes are prompted together and none is left out by a policy. What the configuration has not (`drops` = 0,
    `completion` = none) is not among the stages.
    """
    classes = asked_classes(class_names)
    asked = segmenter.prepare(image, classes).classes if isinstance(classes, Automatic) else classes
    first_names = [group[0] for group in asked]
    prepared = segmenter.prepare(image, first_names, keep=first_names)
    trace = segmenter.look(prepared)
    attention = segmenter.replace(gradient="none", drops=0).look(prepared).passes[0].maps
    total, config = segmenter.replace(completion="none").sum_maps(trace), segmenter.config
    later = {"+ Saliency DropOut": total} if config.drops else {}
    later |= {"+ completion": segmenter.sum_maps(trace)} if config.completion != "none" else {}
    maps = {"cross-attention": attention, "+ GradCAM": trace.passes[0].maps, **later}
    photo = _tile(prepared.image)
    return {
        name: {
            "stages": _stages(photo, name, {stage: found[k] for stage, found in maps.items()}),
            "passes": _passes(photo, name, k, trace.passes, total[k]),
        }
        for k, name in enumerate(first_names)
    }


def save_pictures(pictures: Mapping[str, Mapping[str, Image.Image]], folder: Path, stem: str) -> list[Path]:
    """Write STEM.NN-CLASS.stages.png and STEM.NN-CLASS.passes.png; NN counts the classes from 1. Raises OutputError."""
    paths = []
    for number, (name, kinds) in enumerate(pictures.items(), 1):
        slug = re.sub(r"[^\w]+", "-", name).encode()[:SLUG_BYTES].decode("utf-8", "ignore").strip("-") or "class"
        for kind, picture in kinds.items():
            paths.append(folder / f"{stem}.{number:02d}-{slug}.{kind}.png")
            write_atomically(paths[-1], png_bytes(picture))
    return paths


def _stages(photo: Image.Image, name: str, maps: Mapping[str, Tensor]) -> Image.Image:
    return _sheet([[(f"photo: {name}", photo), *((stage, _heat(photo, heat)) for stage, heat in maps.items())]])


def _passes(photo: Image.Image, name: str, k: int, passes: Sequence[Pass], total: Tensor) -> Image.Image:
    seen = [
        (f"pass {i}: {_percent(p.visible)} of patches", draw_holes(photo, p.visible.cpu().numpy()))
        for i, p in enumerate(passes, 1)
    ]
    maps = [(f"{name}, pass {i}", _heat(photo, p.maps[k])) for i, p in enumerate(passes, 1)]
    return _sheet([[*seen, ("", photo)], [*maps, ("sum", _heat(photo, total))]])


def _percent(visible: Tensor) -> str:
    return f"{100 * float(visible.float().mean()):.3g} %"


def _tile(photo: np.ndarray) -> Image.Image:
    height, width = photo.shape[:2]
    size = TILE_PX, max(24, min(2 * TILE_PX, round(TILE_PX * height / width)))
    return Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)


def _heat(photo: Image.Image, heat: Tensor) -> Image.Image:
    return draw_heat(photo, minmax(heat[None].cpu().float())[0].numpy())


def _sheet(rows: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """Tiles in rows, a caption above each."""
    lines = [
        beside(
            [stacked([words([text[:34]], TILE_PX, font_px=13, line_px=20), tile]) for text, tile in row], gap_px=_GAP_PX
        )
        for row in rows
    ]
    inner = stacked(lines, gap_px=_GAP_PX)
    return on_white(inner, (inner.width + 2 * _GAP_PX, inner.height + 2 * _GAP_PX), (_GAP_PX, _GAP_PX))
