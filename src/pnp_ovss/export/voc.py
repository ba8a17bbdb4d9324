"""PASCAL VOC: `SegmentationClass/*.png`, indexed, with `labelmap.txt` and the list of photos.

Values are class ids, 0 is background; 255 is VOC's void and never occurs. `labelmap.txt` (name:r,g,b:parts:actions)
is what CVAT and Datumaro read names and colours from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pnp_ovss.errors import ConfigError
from pnp_ovss.export.run import Run, beneath
from pnp_ovss.palette import palette
from pnp_ovss.segmentation import labels_image

MAX_INDEXED = 254
"""Classes that 8 bit hold beside background and void."""


def write(run: Run, out: Path) -> int:
    """Write the folder; returns how many masks of classes it holds. Raises ConfigError over 254 classes."""
    if len(run.class_names) > MAX_INDEXED:
        raise ConfigError(
            f"the run has {len(run.class_names)} classes; VOC's 8-bit masks hold {MAX_INDEXED}: use --to coco or cvat"
        )
    count = 0
    for photo in run.photos:
        labels = photo.labels()
        labels_image(labels, len(run.class_names)).save(beneath(out, f"SegmentationClass/{photo.stem}.png"))
        count += len(np.unique(labels[labels > 0]))
    beneath(out, "ImageSets/Segmentation/default.txt").write_text(image_list(run), "utf-8")
    (out / "labelmap.txt").write_text(label_map(run), "utf-8")
    return count


def image_list(run: Run) -> str:
    """One photo a line, without ending."""
    return "".join(f"{photo.stem}\n" for photo in run.photos)


def label_map(run: Run) -> str:
    """CVAT's `labelmap.txt`. Raises ConfigError for names that its separators forbid.

    >>> print(label_map(Run(("cat",), ())), end="")
    # label:color_rgb:parts:actions
    background:0,0,0::
    cat:230,159,0::
    """
    lines = ["# label:color_rgb:parts:actions"]
    colours = palette(len(run.class_names))
    for name, colour in zip(("background", *run.class_names), colours.tolist(), strict=True):
        if ":" in name or name.startswith("#"):
            raise ConfigError(
                f"class name '{name}' cannot stand in labelmap.txt (':' and a leading '#' separate): rename it"
            )
        lines.append(f"{name}:{','.join(map(str, colour))}::")
    return "\n".join(lines) + "\n"


def coloured(labels: np.ndarray, classes: int) -> Image.Image:
    """(H, W) labels as a picture in the label map's colours: indexed up to 254 classes, else RGB."""
    if classes <= MAX_INDEXED:
        return labels_image(labels, classes)
    return Image.fromarray(palette(classes)[labels])
