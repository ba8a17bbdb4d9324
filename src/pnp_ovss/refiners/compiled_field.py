"""Mean-field updates on permutohedral lattices, compiled by numba: one pass over the pixels for each update."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from pnp_ovss.refiners.compiled_lattice import VERTICES
from pnp_ovss.refiners.rows import (
    add,
    add_product,
    add_scaled,
    divide,
    exp,
    flushed,
    jit,
    larger,
    largest_of_group,
    load,
    store,
    subtract,
    sum_of_group,
    zeros,
)

CHUNK = 16  # pixels that go through all steps of an update before the next ones: they stay in the first cache
WIDE = 16  # lanes of the softmax: several pixels of few channels at once


@cache
def kernels_for(lanes: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """`blur` and `update` for tables (panels, M + 1, lanes): panels of so many channels, the last row 0."""

    @jit
    def blur(table, spare, links):
        """Blur `table` along the directions of both lattices in turn, in place; `spare` is written to."""
        half = np.float32(0.5)
        for panel in range(len(table)):
            for first, pairs in links:
                source, target = table[panel], spare[panel]
                for direction in range(len(pairs)):
                    for i in range(pairs.shape[1]):
                        near = add(
                            load(source, pairs[direction, i, 0], lanes), load(source, pairs[direction, i, 1], lanes)
                        )
                        store(target, first + i, add_scaled(load(source, first + i, lanes), near, half))
                    source, target = target, source
                if len(pairs) % 2:
                    for i in range(first, first + pairs.shape[1]):
                        store(target, i, load(source, i, lanes))

    @jit
    def update(prior, vertices, weights, share, rows, table, target, sliced, splatted):
        """Q = softmax(prior + messages in the blurred `table`), splatted into `target`, or written over the prior.

        Without `sliced` there are no messages yet. prior: (N, panels · lanes). rows: room for a chunk. One function in all:
        numba does not find in its cache what refers to functions made beside it.
        """
        panels = len(table)
        for start in range(0, len(prior), CHUNK):
            for panel in range(panels):
                factors, source = load(share, panel, lanes), table[panel]
                for b in range(CHUNK):
                    message = zeros(lanes)
                    if sliced:
                        for k in range(VERTICES):
                            row = load(source, vertices[start + b, k], lanes)
                            message = add_scaled(message, row, weights[start + b, k])
                    logits = load(prior, (start + b) * panels + panel, lanes)
                    store(rows, b * panels + panel, add_product(logits, message, factors))
            # Softmax: of one pixel at a time, or of several where they have few channels.
            for first in range(0, CHUNK * panels * lanes // WIDE, panels):
                top, total = load(rows, first, WIDE), zeros(WIDE)
                for i in range(first + 1, first + panels):
                    top = larger(top, load(rows, i, WIDE))
                top = largest_of_group(top, lanes)
                for i in range(first, first + panels):
                    store(rows, i, exp(subtract(load(rows, i, WIDE), top)))
                    total = add(total, load(rows, i, WIDE))
                total = sum_of_group(total, lanes)
                for i in range(first, first + panels):
                    store(rows, i, flushed(divide(load(rows, i, WIDE), total)))
            if splatted:
                for panel in range(panels):
                    filled = target[panel]
                    for b in range(CHUNK):
                        row = load(rows, b * panels + panel, lanes)
                        for k in range(VERTICES):
                            at = vertices[start + b, k]
                            store(filled, at, add_scaled(load(filled, at, lanes), row, weights[start + b, k]))
            else:
                prior[start : start + CHUNK] = rows

    return blur, update
