"""The photo with its masks: translucent colours, outlines, a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pnp_ovss.images import resize_to
from pnp_ovss.masks.labels import class_shares, resize_nearest
from pnp_ovss.masks.regions import grow
from pnp_ovss.pictures.palette import palette

OPACITY = 0.5
MAX_SIDE_PX = 1600
MIN_SIDE_PX = 320


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, names: Sequence[str], *, void: int | None = None, legend: bool = True
) -> Image.Image:
    """Blend (H, W, 3) uint8 with the colours of (H, W) labels; larger photos are scaled to 1600 px.

    The legend below lists the classes found with their share of the pixels, largest first, or says that none was.
    Pixels of the label `void` stay bare and do not count.
    """
    height, width = _display_size(*image.shape[:2])
    photo = resize_to(image, (height, width)).astype(np.float32)
    shown = resize_nearest(labels if void is None else np.where(labels == void, 0, labels), (height, width))
    picture = Image.fromarray(_blend(photo, shown, palette(len(names))))
    return _with_legend(picture, names, class_shares(labels, names, void=void)) if legend else picture


def _display_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) px for display: at most 1600 px long and, for tiny photos, at least 320 px."""
    longer = max(width, height)
    scale = min(1.0, MAX_SIDE_PX / longer) if longer >= MIN_SIDE_PX else MIN_SIDE_PX / longer
    return max(1, round(height * scale)), max(1, round(width * scale))


def _blend(photo: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    tint = colours[labels].astype(np.float32)
    strength = np.where(labels > 0, OPACITY, 0.0)[..., None]
    blended = photo * (1 - strength) + tint * strength
    for label in np.flatnonzero(np.bincount(labels[labels > 0])):  # np.unique would import masked arrays
        inside = labels == label
        blended[_border(inside, 3)] = 255
        blended[_border(inside, 2)] = colours[label]
    return blended.round().clip(0, 255).astype(np.uint8)


def _border(mask: np.ndarray, width_px: int) -> np.ndarray:
    """The pixels of the mask within `width_px` of its outside."""
    return mask & grow(~mask, width_px)


def _with_legend(picture: Image.Image, names: Sequence[str], shares: Mapping[str, float]) -> Image.Image:
    size_px = int(np.clip(picture.width / 32, 13, 28))
    font = ImageFont.load_default(size_px)
    found = sorted((name for name in names if shares[name] > 0), key=lambda name: -shares[name])
    entries = [
        (f"{_shorten(name)} {shares[name]:.0%}" if shares[name] >= 0.01 else f"{_shorten(name)} <1%", name)
        for name in found
    ]
    entries = entries or [("none of the classes found", None)]
    places, height = _layout([text for text, _ in entries], picture.width, font, size_px)
    sheet = Image.new("RGB", (picture.width, picture.height + height), "white")
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    colours = palette(len(names))
    for (text, name), (x, y) in zip(entries, places, strict=True):
        top = picture.height + y
        if name is not None:
            colour = tuple(int(c) for c in colours[names.index(name) + 1])
            pen.rectangle((x, top + 2, x + size_px, top + 2 + size_px), fill=colour, outline="black")
        pen.text((x + size_px + 6, top), text, fill="black", font=font)
    return sheet


def _shorten(name: str, limit: int = 40) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _layout(
    texts: Sequence[str], width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, size_px: int
) -> tuple[list[tuple[int, int]], int]:
    """Top left corners (x, y) of the entries, line by line, and the legend's height, px."""
    pad, line = size_px // 2, round(size_px * 1.6)
    x, y, places = pad, pad, []
    for text in texts:
        entry = size_px + 6 + round(font.getlength(text)) + 2 * pad
        if x > pad and x + entry > width:
            x, y = pad, y + line
        places.append((x, y))
        x += entry
    return places, y + line + pad // 2
