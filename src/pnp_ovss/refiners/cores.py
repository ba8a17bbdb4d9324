"""No class is lost: what refining may not take away. Pure.

A class is named because it was found, and a refiner that smooths over the whole photo can still give its last pixel to a
broader neighbour. Its core, the pixels that it won most clearly, is therefore given back where too little was left of it.
"""

from __future__ import annotations

import math

import torch

from pnp_ovss.errors import RefinerError

SMALLEST_SCORE = 1e-30  # what a given-back pixel wins with where the refiner left it nothing; far above denormals


def hold_cores(scores: torch.Tensor, refined: torch.Tensor, share: float) -> torch.Tensor:
    """`refined` (C, H, W) with at least `share` of the pixels of every channel of `scores` (C, H, W) still its own.

    A channel's pixels are those where it is the first highest of `scores`. Where `refined` leaves it fewer of them than
    ceil(share · pixels), it wins that many, those with the largest lead over the second highest score, by trading values
    with the winner there. As no two channels share a pixel, none pays for another's core with its own. Everything else
    stays bit for bit; neither tensor is written to.
    Raises RefinerError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise RefinerError(f"a share of {share} of each class's pixels cannot be kept: use 0 (off) to 1")
    owners, winners = (each.max(dim=0).indices.flatten() for each in (scores, refined))
    owned = owners.bincount(minlength=len(scores))
    left = owners[owners == winners].bincount(minlength=len(scores))
    least = (owned.double() * share).ceil().long()
    held = refined
    for channel in (left < least).nonzero().flatten().tolist():
        pixels = (owners == channel).nonzero().flatten()
        first, second = scores.flatten(1)[:, pixels].topk(2, dim=0).values
        best = (first - second).argsort(descending=True, stable=True)
        core = pixels[best[: int(least[channel])]]
        held = held.clone(memory_format=torch.contiguous_format) if held is refined else held
        _give(held.view(len(held), -1), core[winners[core] != channel], channel)
    return held


def _give(values: torch.Tensor, pixels: torch.Tensor, channel: int) -> None:
    """Let `channel` win at `pixels` (P,) of `values` (C, N), in place: it trades with the winner, and no tie is left."""
    highest, winner = values[:, pixels].max(0)
    values[winner, pixels] = values[channel, pixels]
    above = torch.nextafter(highest.clamp(min=SMALLEST_SCORE), highest.new_tensor(math.inf))
    values[channel, pixels] = above
