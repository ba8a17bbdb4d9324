"""Foreign formats: what `pnp-ovss segment --out RUN_DIR` wrote, for the tools that people label and train with.

One file a format; formats enter and leave here only, and `formats` says what each demands. Labels keep their class ids
everywhere: 0 is background and i the i-th class. See docs/exports.md.

>>> from pnp_ovss.export import export_run, read_run
>>> export_run(read_run("out"), "coco", "coco.json")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pnp_ovss.errors import DatasetError, OutputError
from pnp_ovss.export.formats import FORMATS, Writer, check, get_format
from pnp_ovss.export.run import Run, RunPhoto
from pnp_ovss.files import writing
from pnp_ovss.outputs import name_too_long

__all__ = ["FORMATS", "Run", "RunPhoto", "Written", "default_out", "export_run", "read_run"]


@dataclass(frozen=True)
class Written:
    """masks: how many (YOLO: polygons). failures: (photo, error) of those that were left out."""

    masks: int
    failures: tuple[tuple[str, str], ...] = ()


def default_out(name: str) -> Path:
    """Where a format is written when nothing was said: `export-coco.json`, `export-voc/`."""
    return Path(f"export-{name}{get_format(name).ending}")


def read_run(folder: str | Path, class_names: Sequence[str] = ()) -> Run:
    """The results in a folder that `pnp-ovss segment --out` or `pnp-ovss batch --out` wrote.

    Photos that were asked for different classes share one list: `class_names` first, so that ids can be pinned for
    several runs, then each photo's classes in their order, as they are met. Names that differ in case, blanks or
    hyphens are one class.
    What failed, or is not finished, is left out and counted.
    Raises DatasetError when the folder holds no results or damaged ones.
    """
    from pnp_ovss.export.batch_run import read_batch
    from pnp_ovss.export.segment_run import read_segment_run

    folder = Path(folder)
    batch = (folder / "inventory.parquet").is_file()
    return read_batch(folder, class_names) if batch else read_segment_run(folder, class_names)


def export_run(run: Run, name: str, out: str | Path, *, min_region_px: int | None = None) -> Written:
    """Write a run in the format `name` to `out`, a folder or a file of the format's ending; files are replaced.

    min_region_px: connected regions and holes of fewer pixels go to what is around them; None: the format's own limit.
    A photo whose labels cannot be read, or whose files cannot have its name, is left out and told. Raises ConfigError,
    DatasetError or OutputError, before any work, for what the format cannot hold.
    """
    out, form = Path(out), get_format(name)
    check(run, name, out)
    run = run.without_specks(min_region_px, form.speck_share)
    module, _, kind = form.writer.partition(":")
    with writing(out):
        (out.parent if form.ending else out).mkdir(parents=True, exist_ok=True)
        writer: Writer = getattr(importlib.import_module(f"pnp_ovss.export.{module}"), kind)(run, out)
        return _write(run, writer)


def _write(run: Run, writer: Writer) -> Written:
    masks, failures = 0, []
    for photo in run.photos:
        try:
            masks += writer.add(photo)
        except DatasetError as error:
            failures.append((photo.name, str(error)))
        except (OSError, OutputError) as error:
            if not name_too_long(error):
                raise
            failures.append((photo.name, "its name is too long for a file of its own"))
    writer.close()
    return Written(masks, tuple(failures))
