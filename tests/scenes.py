"""Pictures with known answers for the fake model."""

import numpy as np

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (127, 127, 127)


def two_squares(height: int = 96, width: int = 128) -> np.ndarray:
    """Grey with a red square top left and a blue one bottom right: (H, W, 3) uint8."""
    image = np.full((height, width, 3), GREY, np.uint8)
    image[height // 6 : height // 2, width // 8 : width // 2] = RED
    image[height // 2 : height * 5 // 6, width * 5 // 8 : width * 15 // 16] = BLUE
    return image
