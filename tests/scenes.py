"""Pictures with known answers for the fake model."""

from pathlib import Path

import numpy as np
from PIL import Image

RED, BLUE, GREY, MAGENTA = (255, 0, 0), (0, 0, 255), (127, 127, 127), (255, 0, 255)


def two_squares(height: int = 96, width: int = 128) -> np.ndarray:
    """Grey with a red square top left and a blue one bottom right: (H, W, 3) uint8."""
    image = np.full((height, width, 3), GREY, np.uint8)
    image[height // 6 : height // 2, width // 8 : width // 2] = RED
    image[height // 2 : height * 5 // 6, width * 5 // 8 : width * 15 // 16] = BLUE
    return image


def faint_objects(side: int = 96) -> np.ndarray:
    """Grey with a red and a blue square above, ever fainter ones below, and magenta: (side, side, 3) uint8.

    Drawn on 12 x 12 patches: with half of what is left dropped each time, ties from the top, four drops leave
    rows 6-11, 9-11, half of 10 and all of 11, and nine patches of 11. An object of each level lies where it is left when
    those before are gone. Magenta is what attention sees and the gradient does not.
    """
    cells = np.full((12, 12, 3), GREY, np.uint8)
    cells[1:3, 5:7] = cells[11, :3] = MAGENTA
    for colour in (RED, BLUE):
        levels = level_of("red" if colour == RED else "blue")
        for level in range(5):
            cells[levels == level] = _fainter(colour, level)
    return cells.repeat(side // 12, axis=0).repeat(side // 12, axis=1)


def level_of(colour: str) -> np.ndarray:
    """How faint `faint_objects` is in each patch: (12, 12), 0 = the full colour, 4 = the faintest, -1 = not there."""
    left = (
        (slice(1, 4), slice(1, 4)),
        (slice(6, 8), slice(0, 2)),
        (9, slice(1, 4)),
        (10, slice(9, 12)),
        (11, slice(4, 6)),
    )
    right = (
        (slice(1, 4), slice(8, 11)),
        (slice(6, 8), slice(9, 11)),
        (9, slice(7, 11)),
        (10, slice(6, 8)),
        (11, slice(10, 12)),
    )
    levels = np.full((12, 12), -1)
    for level, place in enumerate(left if colour == "red" else right):
        levels[place] = level
    return levels


def _fainter(colour: tuple[int, int, int], level: int) -> tuple[int, ...]:
    """The colour whose likeness to `colour` is 0.85 ** level for the fake model."""
    moved = 255 * np.sqrt(-np.log(0.85**level) / 4 / 3)
    return tuple(round(c - moved if c else moved) for c in colour)


def write_different(folder: Path, count: int) -> Path:
    """So many photos of one grey each."""
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (48, 32), (index, index, index)).save(folder / f"{index}.png")
    return folder
