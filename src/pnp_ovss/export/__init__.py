"""Foreign formats: what `pnp-ovss segment --out RUN_DIR` wrote, for the tools that people label and train with.

One file a format; formats enter and leave here only. Labels keep their class ids everywhere: 0 is background and
i the i-th class. See docs/exports.md.

>>> from pnp_ovss.export import export_run, read_run
>>> export_run(read_run("out"), "coco", "coco.json")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from pathlib import Path

from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.export.run import Run, RunPhoto, read_run

__all__ = ["FORMATS", "Run", "RunPhoto", "default_out", "export_run", "read_run"]

FORMATS = {
    "coco": ("coco", ".json"),
    "coco-panoptic": ("coco_panoptic", ""),
    "cvat": ("cvat", ".zip"),
    "hf": ("hf", ""),
    "label-studio": ("label_studio", ".json"),
    "voc": ("voc", ""),
    "yolo": ("yolo", ""),
}
"""Format -> its module here and the ending of what it writes ("" is a folder)."""


def default_out(name: str) -> Path:
    """Where a format is written when nothing was said: `export-coco.json`, `export-voc/`."""
    return Path(f"export-{name}{_known(name)[1]}")


def export_run(run: Run, name: str, out: str | Path) -> int:
    """Write a run in the format `name` to `out`, a folder or file of the ending in `FORMATS`; files are replaced.

    Returns how many masks (COCO's segments, YOLO's polygons) were written. Raises ConfigError for an unknown format
    or a wrong ending, DatasetError for labels that cannot be read, OutputError when `out` cannot be written.
    """
    module, ending = _known(name)
    out = Path(out)
    if ending and out.suffix.lower() != ending:
        raise ConfigError(
            f"--to {name} writes one {ending} file; {out} has another ending: use {out.with_suffix(ending)}"
        )
    folder = out.parent if ending else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return importlib.import_module(f"pnp_ovss.export.{module}").write(run, out)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}; choose another --out") from error


def _known(name: str) -> tuple[str, str]:
    if name not in FORMATS:
        raise ConfigError(f"unknown format '{name}'; choose from {', '.join(FORMATS)}")
    return FORMATS[name]
