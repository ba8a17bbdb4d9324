"""The frozen list of a batch's photos, on disk: shard k is row group k, so that nothing has to fit in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path

from pnp_ovss.batch.sources import PhotoRef, require_pyarrow
from pnp_ovss.errors import ImageError, OutputError
from pnp_ovss.files import replacing


class Inventory:
    """Reads an inventory; photos are numbered from 0 in its order."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = require_pyarrow().ParquetFile(path, pre_buffer=False)
        except (OSError, ValueError) as error:
            raise OutputError(f"{path} is damaged ({error}); start anew in another --out") from error
        self.photos: int = self._file.metadata.num_rows
        self.shards: int = self._file.num_row_groups
        self.shard_size: int = self._file.metadata.row_group(0).num_rows

    def shard(self, number: int) -> list[tuple[int, PhotoRef]]:
        """The photos of one shard with their numbers."""
        rows = self._file.read_row_group(number).to_pylist()
        return list(enumerate((PhotoRef(**row) for row in rows), start=number * self.shard_size))

    def numbers(self, shard: int) -> range:
        """The numbers of one shard's photos."""
        first = shard * self.shard_size
        return range(first, first + self._file.metadata.row_group(shard).num_rows)


def write_inventory(path: Path, photos: Iterable[PhotoRef], shard_size: int, *, unique: bool) -> None:
    """Write the list in one pass, shard by shard, and put it in place only when it is complete.

    unique: the photos are known to be different; otherwise repeated ones are left out, which takes about 0.1 GB a
    million. Raises ImageError when there is none, OutputError when it cannot be written.
    """
    pq = require_pyarrow()
    import pyarrow as pa

    types = {"path": pa.binary(), "place": pa.int64(), "size": pa.int64()}
    schema = pa.schema([(f.name, types.get(f.name, pa.string())) for f in fields(PhotoRef)])
    photos = iter(photos if unique else _without_repeats(photos))
    chunk = list(islice(photos, shard_size))
    if not chunk:
        raise ImageError("the inputs hold no photo")
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while chunk:
            writer.write_table(pa.Table.from_pylist([asdict(ref) for ref in chunk], schema), shard_size)
            chunk = list(islice(photos, shard_size))


def _without_repeats(photos: Iterable[PhotoRef]) -> Iterator[PhotoRef]:
    seen: set[bytes] = set()
    for ref in photos:
        key = hashlib.blake2b(b"%d:" % ref.place + ref.path, digest_size=16).digest()
        if key not in seen:
            seen.add(key)
            yield ref
