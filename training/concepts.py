"""What a photo shows, as far as its captions and tags say: concepts present, and concepts that may be called absent."""

import re
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).parent
VOC = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
]  # fmt: skip


@dataclass
class Concept:
    """One thing that can be named, with its synonyms, its hypernym and the ImageNet classes of its kind."""

    names: list[str]
    parent: int | None = None
    imagenet: list[int] = field(default_factory=list)
    unmentioned: bool = False
    """Often visible without being mentioned."""


@dataclass
class Concepts:
    """The tree of concepts of concepts.txt, then tags and ImageNet names that it does not know."""

    items: list[Concept]
    by_name: dict[str, int]

    def ancestors(self, index: int) -> set[int]:
        """The concept and its hypernyms."""
        found = set()
        while index is not None:
            found.add(index)
            index = self.items[index].parent
        return found

    def add(self, name: str, parent: int | None = None) -> int:
        """The index of a name, made if it is new."""
        if name not in self.by_name:
            self.by_name[name] = len(self.items)
            self.items.append(Concept([name], parent))
        return self.by_name[name]


def _indices(text: str) -> list[int]:
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def read_concepts(path: Path = _HERE / "concepts.txt") -> Concepts:
    """Parse the tree; a name used twice belongs to its most specific line."""
    concepts, parent = Concepts([], {}), None
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        nested = line.startswith(" ")
        text, _, imagenet = line.strip().partition("@")
        names = [name.strip() for name in text.lstrip("~").split(",") if name.strip()]
        index = len(concepts.items)
        parent = parent if nested else None
        concepts.items.append(Concept(names, parent, _indices(imagenet) if imagenet else [], text.startswith("~")))
        for name in names:
            if nested or name not in concepts.by_name:
                concepts.by_name[name] = index
        parent = concepts.items[index].parent if nested else index
    return concepts


def imagenet_concepts(concepts: Concepts, names: list[str]) -> list[int]:
    """The concept of each ImageNet class: its own name, below the concept whose kind it is."""
    kinds = {i: index for index, concept in enumerate(concepts.items) for i in concept.imagenet}
    return [concepts.add(name, kinds.get(i)) for i, name in enumerate(names)]


_CALTECH = {
    "leopards": "leopard", "car side": "car", "cougar face": "cougar", "cougar body": "cougar", "sea horse": "seahorse",
    "flamingo head": "flamingo", "crocodile head": "crocodile", "headphone": "headphones", "binocular": "binoculars",
    "orange": "orange fruit", "rhino": "rhinoceros", "water lilly": "water lily", "garfield": "cartoon", "snoopy": "cartoon",
}  # fmt: skip
_CALTECH_KINDS = {
    "wild cat": None, "windsor chair": "chair", "ketch": "boat", "schooner": "boat", "dalmatian": "dog", "face": "person",
    "ibis": "bird", "emu": "bird", "pigeon": "bird", "gerenuk": "deer", "dragonfly": "insect", "mayfly": "insect",
    "ant": "insect", "tick": "insect", "hawksbill": "turtle", "bonsai": "potted plant", "joshua tree": "tree",
    "stegosaurus": "dinosaur", "brontosaurus": "dinosaur", "bass": "fish",
}  # fmt: skip


def tag_concept(concepts: Concepts, tag: str) -> int:
    """The concept of an image-level tag."""
    tag = _CALTECH.get(tag, tag)
    kind = _CALTECH_KINDS.get(tag)
    return concepts.add(tag, concepts.by_name[kind] if kind else None)


MANY_MEANINGS = {
    "orange", "bass", "kite", "slide", "steps", "pool table", "back", "plant", "wave", "glass", "picture",
}  # fmt: skip
"""Names that captions use of other things: never taken as mentioned."""


class CaptionReader:
    """Finds the concepts that captions mention, longest names first."""

    def __init__(self, concepts: Concepts):
        self.concepts = concepts
        names = sorted((n for n in concepts.by_name if n not in MANY_MEANINGS), key=len, reverse=True)
        self.pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def mentioned(self, captions: list[str]) -> dict[int, str]:
        """Concept → the name by which it was mentioned."""
        found = {}
        for caption in captions:
            for name in self.pattern.findall(caption.lower()):
                found[self.concepts.by_name[name]] = name
        return found
