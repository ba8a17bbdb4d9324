"""Pictures with known answers for the fake model."""

import numpy as np

RED, BLUE, GREY, MAGENTA = (255, 0, 0), (0, 0, 255), (127, 127, 127), (255, 0, 255)


def two_squares(height: int = 96, width: int = 128) -> np.ndarray:
    """Grey with a red square top left and a blue one bottom right: (H, W, 3) uint8."""
    image = np.full((height, width, 3), GREY, np.uint8)
    image[height // 6 : height // 2, width // 8 : width // 2] = RED
    image[height // 2 : height * 5 // 6, width * 5 // 8 : width * 15 // 16] = BLUE
    return image


def faint_objects(side: int = 96) -> np.ndarray:
    """Grey with a red and a blue square at the top, fainter ones of the same colours below, and magenta: (side, side, 3).

    Drawn on a grid of 12 x 12 patches: with half of what is left dropped each round, ties from the top, a round leaves
    rows 6-11, then 9-11, then half of 10 and 11, then nine patches of 11. Every level of faintness lies where it is left
    when those before are gone. The magenta is what attention sees and the gradient does not.
    """
    cells = np.full((12, 12, 3), GREY, np.uint8)
    cells[1:4, 1:4], cells[1:4, 8:11] = RED, BLUE
    cells[1:3, 5:7] = cells[11, :3] = MAGENTA
    places = ((slice(6, 8), slice(0, 2), slice(9, 11)), (9, slice(1, 4), slice(7, 11)), (10, slice(9, 12), slice(3, 6)))
    for level, (rows, left, right) in enumerate(places, 1):
        cells[rows, left], cells[rows, right] = _fainter(RED, level), _fainter(BLUE, level)
    cells[11, 4:6], cells[11, 10:] = _fainter(RED, 4), _fainter(BLUE, 4)
    return cells.repeat(side // 12, axis=0).repeat(side // 12, axis=1)


def _fainter(colour: tuple[int, int, int], level: int) -> tuple[int, ...]:
    """The colour whose likeness to `colour` is 0.85 ** level for the fake model."""
    moved = 255 * np.sqrt(-np.log(0.85**level) / 4 / 3)
    return tuple(round(c - moved if c else moved) for c in colour)
