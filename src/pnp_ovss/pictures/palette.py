"""Colours for label maps: stable, told apart by colour-blind eyes too, as many as there are classes.

The first seven are Okabe and Ito's (2008). Every further colour is the one farthest from all before it, where
the distance of two colours is the smallest of their OKLab distances as seen by a normal, a protanopic and a
deuteranopic eye (OKLab: Ottosson 2020; simulation: Machado, Oliveira and Fernandes 2009, severity 1). Each
palette is therefore the beginning of every longer one, and class 3 has the same colour in all pictures.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BACKGROUND_COLOUR = (0, 0, 0)
VOID_COLOUR = (224, 224, 192)
"""What pixels without ground truth look like; no class colour comes near it."""

MAX_CLASSES = 2000
"""So many classes have a colour of their own; after that the colours begin anew."""

_OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_LEVELS = np.arange(0, 256, 17)
_LIGHTNESS = (0.4, 0.93)  # OKLab L of generated colours: neither mistaken for background nor for paper
_EYES = (
    np.eye(3),
    np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
)
_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def palette(classes: int) -> NDArray[np.uint8]:
    """Colours of the labels 0..classes: (classes + 1, 3) uint8 RGB; row 0, the background, is black.

    Raises ValueError if `classes` is negative.

    >>> palette(2).tolist()
    [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    """
    if classes < 0:
        raise ValueError(f"palette of {classes} classes: give a number from 0")
    if classes > MAX_CLASSES:
        again = np.arange(classes) % MAX_CLASSES + 1
        return palette(MAX_CLASSES)[np.concatenate([[0], again])]
    known = [BACKGROUND_COLOUR, *_OKABE_ITO]
    if classes < len(known):
        return np.array(known[: classes + 1], dtype=np.uint8)
    length = 256 if classes <= 256 else MAX_CLASSES  # two lengths, each computed at most once
    return np.concatenate([np.array(known, dtype=np.uint8), _far_colours(length)])[: classes + 1]


def paint(labels: NDArray[np.integer], classes: int) -> NDArray[np.uint8]:
    """Colour labels (H, W) in 0..classes as an (H, W, 3) uint8 picture; any other label gets `VOID_COLOUR`.

    >>> paint(np.array([[0, 1, 65535]]), classes=1).tolist()
    [[[0, 0, 0], [230, 159, 0], [224, 224, 192]]]
    """
    colours = np.concatenate([palette(classes), np.array([VOID_COLOUR], dtype=np.uint8)])
    known = (labels >= 0) & (labels <= classes)
    return colours[np.where(known, labels, classes + 1)]


def css_colour(label: int) -> str:
    """A label's colour, "#rrggbb".

    >>> css_colour(1)
    '#e69f00'
    """
    return "#" + "".join(f"{value:02x}" for value in palette(label)[label].tolist())


@lru_cache(maxsize=2)
def _far_colours(count: int) -> NDArray[np.uint8]:
    candidates = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = _seen(candidates)[:, 0, 0]
    candidates = candidates[(lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])]
    seen = _seen(candidates)
    distance = np.full(len(candidates), np.inf)
    for colour in _seen(np.array([BACKGROUND_COLOUR, VOID_COLOUR, *_OKABE_ITO])):
        distance = np.minimum(distance, _distance(seen, colour))
    chosen = []
    for _ in range(count):
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = np.minimum(distance, _distance(seen, seen[best]))
    return np.array(chosen, dtype=np.uint8)


def _distance(seen: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of (N, 3 eyes, 3) colours to one (3 eyes, 3) colour: the smallest over the eyes, (N,)."""
    lightness, green, blue = np.moveaxis((seen - colour) ** 2, -1, 0)  # numpy reduces axes of three slowly
    one, two, three = (lightness + green + blue).T
    return np.sqrt(np.minimum(np.minimum(one, two), three))


def _seen(rgb: NDArray[np.integer]) -> NDArray[np.float64]:
    """OKLab coordinates (N, 3 eyes, 3) of sRGB colours (N, 3) in 0..255, one per eye."""
    share = rgb / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    views = [np.cbrt(np.clip(linear @ eye.T, 0, 1) @ _RGB_TO_LMS.T) @ _LMS_TO_OKLAB.T for eye in _EYES]
    return np.stack(views, axis=1).round(9)
