"""Turns photos and texts into tensors: cached trunk features, token ids, the tokens of each name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cache import View, cache_file, count_cached
from samples import PROMPT, Knowledge, Photo, Text, TextSampler
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.vlms.encoders.efficientnet import STRIDE_PX

MAX_TOKENS = 48


def name_owners(batch: "Batch") -> Tensor:
    """Which names (M) stand in which text (K): 1 or 0, (B, K, M)."""
    owner = torch.where(batch.there >= 0, batch.text.take_along_dim(batch.spans.argmax(-1), 1), -1)
    return (owner[:, None] == torch.arange(batch.match.shape[1])[None, :, None]).float()


@dataclass
class Batch:
    """One training step: B photos, the K texts of each packed into one row of L tokens, M names in them."""

    middle: Tensor
    """Trunk features (B, 120, P, P), bfloat16, channels last."""
    ids: Tensor
    positions: Tensor
    """Place of each token in its text (B, L)."""
    text: Tensor
    """Which text a token belongs to, −1 padding (B, L)."""
    starts: Tensor
    """Where each text's [ENC] stands (B, K)."""
    match: Tensor
    """Share of the named things that are there (B, K); NaN where that is not known."""
    spans: Tensor
    """Weights (B, M, L) of the mean over a name's tokens; zero rows are padding."""
    there: Tensor
    """1 there, 0 not, −1 padding (B, M)."""
    weight: Tensor
    """Weight of a name in the losses (B, M): 1 / √(names in its text)."""
    masks: Tensor
    """Self-training targets (B, M, P, P) in [0, 1]; zeros for what is absent."""
    masked: Tensor
    """Whether a name has such a target (B, M)."""
    rows: list[int]
    """Which photos these are."""


class Encoder:
    """Tokenizes texts name by name, so that every name knows its tokens."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.known = tokenizer, {}

    def words(self, text: str) -> list[int]:
        """Token ids without [ENC] and [SEP]."""
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.known[text]

    def encode(self, text: Text) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids with [ENC] and [SEP], and the token range of each name (whole names only)."""
        if not text.names:
            return [1, *self.words(text.text)[: MAX_TOKENS - 2], 2], []
        ids, spans = [1, *self.words(PROMPT)], []
        for name in text.names:
            pieces = self.words(name)
            if len(ids) + len(pieces) >= MAX_TOKENS:
                break
            spans.append((len(ids), len(ids) + len(pieces)))
            ids += pieces
        return [*ids, 2], spans


def how_often(knowledge: Knowledge) -> np.ndarray:
    """How often each photo (N,) is drawn, rare concepts more often: cumulative shares, up to 1."""
    rarity = 1 / np.sqrt(knowledge.counts + 20)
    weights = np.array([max((rarity[i] for i in p.present), default=0.02) for p in knowledge.photos])
    rarest = [max((rarity[i] for i in p.present if i in knowledge.voc), default=0) for p in knowledge.photos]
    told = np.array([0.06 if p.complete else 0.0 for p in knowledge.photos])
    weights = np.minimum(weights, 0.06) + np.maximum(np.array(rarest), told)
    return np.cumsum(weights) / weights.sum()


class Batches:
    """Random batches; rare concepts are drawn more often."""

    def __init__(self, knowledge: Knowledge, tokenizer: Tokenizer, work: Path, seed: int):
        self.knowledge, self.encoder = knowledge, Encoder(tokenizer)
        self.sampler, self.random = TextSampler(knowledge, seed), np.random.default_rng(seed + 1)
        self.caches, self.work, self.pseudo = {}, work, {}
        self.weights = how_often(knowledge)

    def read_pseudo(self, path: Path) -> None:
        """Self-training targets by photo row and kind of thing."""
        stored = np.load(path)
        keys = zip(stored["rows"].tolist(), stored["concepts"].tolist(), strict=True)
        self.pseudo = {(row, self.knowledge.root(c)): m for (row, c), m in zip(keys, stored["maps"], strict=True)}

    def randoms(self) -> list[np.random.Generator]:
        """All that draws, for checkpoints."""
        return [self.random, self.sampler.random]

    def features(self, rows: list[int], view: View) -> Tensor:
        """Cached features (B, 120, P, P) of some photos."""
        if view not in self.caches:
            self.caches[view] = np.load(cache_file(self.work, view), mmap_mode="r")
        found = np.stack([self.caches[view][row] for row in rows])
        return torch.from_numpy(found).bfloat16().permute(0, 3, 1, 2)

    def draw(self, count: int, view: View) -> Batch:
        """A batch of `count` photos at one size."""
        cached = count_cached(self.work, view)
        photos = self._pick(count, lambda row: row < cached)
        return self.collate(photos, [self.sampler.texts(photo) for photo in photos], view)

    def _pick(self, count: int, usable: Callable[[int], bool]) -> list[Photo]:
        """At most `count` photos at random, rare things more often, whose row is usable."""
        picked = np.searchsorted(self.weights, self.random.random(8 * count))
        return [p for i in picked if usable((p := self.knowledge.photos[int(i)]).row)][:count]

    def collate(self, photos: list[Photo], texts: list[list[Text]], view: View) -> Batch:
        """Pad to the longest text and the longest list."""
        packed = [self._pack(row) for row in texts]
        longest, most = max(len(row[0]) for row in packed), max(1, max(len(row[4]) for row in packed))
        shape = (len(photos), longest)
        ids, positions, text = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
        spans = np.zeros((len(photos), most, longest), np.float32)
        there, weight = np.full((len(photos), most), -1, np.float32), np.zeros((len(photos), most), np.float32)
        side = view.size_px // STRIDE_PX
        masks, masked = torch.zeros(len(photos), most, side, side), torch.zeros(len(photos), most, dtype=torch.bool)
        for b, (pieces, places, owners, _, names, _) in enumerate(packed):
            ids[b, : len(pieces)], positions[b, : len(pieces)], text[b, : len(pieces)] = pieces, places, owners
            for m, (first, last, flag, share, concept) in enumerate(names):
                masked[b, m] = self._mask(photos[b], flag, concept, masks[b, m])
                spans[b, m, first:last] = 1 / (last - first)
                there[b, m], weight[b, m] = flag, share
        starts, match = np.array([row[3] for row in packed]), np.array([row[5] for row in packed], np.float32)
        masks = masks.flip(-1) if view.mirrored else masks
        arrays = [torch.from_numpy(a) for a in (ids, positions, text, starts, match, spans, there, weight)]
        rows = [photo.row for photo in photos]
        return Batch(self.features(rows, view), *arrays, masks, masked, rows)

    def _mask(self, photo: Photo, flag: float, concept: int, out: Tensor) -> bool:
        """Write the target of one name into `out` (P, P); whether there is one."""
        if not self.pseudo or flag == 0:
            return bool(self.pseudo)
        found = self.pseudo.get((photo.row, self.knowledge.root(concept)))
        if found is None:
            return False
        wide = torch.from_numpy(found)[None, None].float() / 255
        out.copy_(F.interpolate(wide, size=out.shape, mode="bilinear", align_corners=False)[0, 0])
        return True

    def prompts(self, photos: list[Photo], concepts: list[list[int]], view: View) -> Batch:
        """A batch that names the given concepts of each photo, each in a text of its own."""
        items, most = self.knowledge.concepts.items, max(map(len, concepts))
        texts = []
        for row in concepts:
            named = [(items[i].names[0], i) for i in [*row, *[row[0]] * (most - len(row))]]
            texts.append([Text(f"{PROMPT} {name}", [name], [1.0], 1.0, [i]) for name, i in named])
        return self.collate(photos, texts, view)

    def _pack(self, texts: list[Text]) -> tuple:
        """The texts of one photo in a row: ids, places, owners, starts, names (first, last, there, weight, concept), match."""
        ids, places, owners, starts, names, match = [], [], [], [], [], []
        for number, text in enumerate(texts):
            pieces, ranges = self.encoder.encode(text)
            flags, base = text.there[: len(ranges)], len(ids)
            starts.append(base)
            kinds = text.concepts[: len(ranges)]
            names += [
                (base + a, base + b, f, len(flags) ** -0.5, c)
                for (a, b), f, c in zip(ranges, flags, kinds, strict=True)
            ]
            match.append(float(np.mean(flags)) if flags else text.match)
            ids += pieces
            places += range(len(pieces))
            owners += [number] * len(pieces)
        return ids, places, owners, starts, names, match
