"""What both engines do: complete shards, and count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.pool import Pool


@dataclass
class Tally:
    """What one run did."""

    photos: int = 0
    failed: int = 0
    restarts: int = 0


def complete_shards(folder: BatchFolder, shards: Iterable[int], pool: Pool) -> Iterator[dict[str, Any]]:
    """Segment what these shards lack and write them; yields the rows as they come. Both engines do their work here."""
    tasks = (task for shard in shards for task in folder.begin(shard))
    with closing(pool.run(tasks)) as rows:
        for row in rows:
            folder.add(row)
            yield row
