"""The finished rows of `pnp-ovss batch`, as a run that every format can write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.sources import require_pyarrow, stamp_of
from pnp_ovss.errors import DatasetError
from pnp_ovss.export.run import Run, RunPhoto, below_common, id_table, one_list
from pnp_ovss.masks.rasterise import rasterise

if TYPE_CHECKING:
    import pyarrow as pa


def read_batch(root: Path, class_names: Sequence[str] = ()) -> Run:
    """The segmented photos of a batch in its order; names and labels stay on disk until they are asked for.

    A photo is named by its path below the folder that all of them share; a tar counts as a folder, row i of x.parquet
    is x-i. Raises DatasetError when no photo is segmented, ConfigError when the folder is no batch.
    """
    folder = BatchFolder(root)
    manifest = folder.read_manifest()
    own = [group[0] for group in manifest["job"]["classes"]]
    names = one_list([class_names, own])
    rows = list(_segmented(folder))
    if not rows:
        raise DatasetError(f"{root} has no segmented photo in a finished shard; see `pnp-ovss batch-report {root}`")
    file_names, table = below_common([place for place, _ in rows]), id_table(own, names)
    photos = (RunPhoto(file_name=n, table=table, **row) for n, (_, row) in zip(file_names, rows, strict=True))
    files = (folder.manifest_path, folder.inventory_path, *folder.shards())
    return Run(names, tuple(photos), root, left_out=manifest["photos"] - len(rows), files=files)


def _segmented(folder: BatchFolder) -> Iterator[tuple[PurePosixPath, dict[str, Any]]]:
    """Of the rows with status `ok`: where the photo is, and the fields of its `RunPhoto` that the row decides."""
    columns = ["id", "path", "status", "height", "width", "model"]
    for shard in folder.shards():
        for place, row in enumerate(require_pyarrow().read_table(shard, columns=columns).to_pylist()):
            if row["status"] == "ok":
                size, read = (row["height"], row["width"]), partial(_read_labels, shard, place)
                yield (
                    location(row["path"], row["id"]),
                    {"size": size, "read": read, "model": row["model"], "files": (shard,)},
                )


def _read_labels(shard: Path, place: int) -> NDArray[np.integer]:
    """The labels of one row. Raises DatasetError when its run lengths do not fit its size."""
    (row,) = _masks(shard, stamp_of(shard)).slice(place, 1).to_pylist()
    size = (row["height"], row["width"])
    labels = np.zeros(size, dtype=np.uint16)
    for entry in row["classes"]:
        if entry["rle"] is not None:
            labels[rasterise({"size": list(size), "counts": entry["rle"]}, *size)] = entry["id"]
    return labels


@lru_cache(maxsize=1)
def _masks(shard: Path, stamp: str) -> pa.Table:  # noqa: ARG001  # another table may have taken its place since
    return require_pyarrow().read_table(shard, columns=["height", "width", "classes"])


def location(path: str, photo_id: str) -> PurePosixPath:
    """Where a photo is, as one path: of a file its own, of a tar's member TAR/MEMBER, of a Parquet row FILE-ROW."""
    file = PurePath(path)
    _, inside_tar, member = photo_id.partition(f"{file.name}/")
    _, inside_parquet, row = photo_id.rpartition(f"{file.name}#")
    if inside_tar and file.suffix.lower() == ".tar":
        return PurePosixPath(file.as_posix(), *(part for part in member.split("/") if part not in {"", ".", ".."}))
    return PurePosixPath(file.with_name(f"{file.stem}-{row}").as_posix() if inside_parquet else file.as_posix())
