"""Draws training texts for a photo: single names, lists and captions, with concepts that are there and that are not."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cache import read_records
from concepts import VOC, CaptionReader, Concepts, imagenet_concepts, read_concepts, tag_concept

PROMPT = "a picture of"
UNTOLD = {"nyuv2": {"tv"}, "labelmefacade": set(), "coco128": set()}
"""Names of classes.json that say less than they seem to: computer monitors are no "tv" there."""
OUTSIDE = [
    "aeroplane", "bus", "train", "cow", "horse", "sheep", "boat", "motorbike", "elephant", "bear", "zebra", "giraffe",
    "mountain", "sea", "beach", "snow", "sand", "forest", "road", "building", "traffic light", "bridge", "truck",
    "sky", "grass", "tree", "field", "water", "rock", "cloud", "house", "sidewalk",
]  # fmt: skip
INSIDE = [
    "bed", "sofa", "toilet", "sink", "refrigerator", "microwave", "oven", "bathtub", "pillow", "cat", "keyboard",
    "tv monitor", "laptop", "bookshelf", "desk", "counter", "bedroom", "kitchen", "bathroom", "sheep", "cow", "pizza", "cake",
    "floor", "ceiling", "curtain", "clothes", "paper",
]  # fmt: skip
UNTAGGED = [
    "person", "grass", "field", "road", "rock", "water", "fence", "stairs", "curtain", "sea", "lake", "sand", "snow", "mountain",
    "hill", "forest", "beach", "flower", "traffic light", "street sign", "shelf", "box", "room",
]  # fmt: skip
"""What tags that are not complete, or of other classes, do not speak of: never called absent of a photo without captions."""
SCENES = {
    "nyuv2": OUTSIDE, "messy-room": OUTSIDE, "office-desk": OUTSIDE, "houses": ["aeroplane", "bus", "train", "sheep", "elephant"],
    "labelmefacade": INSIDE, "intel-scenes": INSIDE, "traffic-light-rf": INSIDE,
}  # fmt: skip
"""Photos full of things that nobody named: beside what their tags tell, only these are called absent."""
COCO_ONLY = [
    "backpack", "bear", "bed", "bench", "bowl", "broccoli", "cake", "cell phone", "clock", "cup", "donut",
    "elephant", "fire hydrant", "fork", "frisbee", "giraffe", "handbag", "hot dog", "keyboard", "kite",
    "knife", "laptop", "microwave", "oven", "pizza", "refrigerator", "remote", "sandwich", "scissors",
    "sink", "skateboard", "skis", "snowboard", "spoon", "stop sign", "suitcase", "surfboard", "teddy bear",
    "tennis racket", "tie", "toaster", "toilet", "toothbrush", "traffic light", "truck", "umbrella", "vase",
    "wine glass", "zebra",
]  # fmt: skip


@dataclass
class Photo:
    """What is known of one training photo."""

    row: int
    path: Path
    present: dict[int, str] = field(default_factory=dict)
    """Concept → the name it was given."""
    blocked: set[int] = field(default_factory=set)
    """Concepts that must not be called absent."""
    captions: list[str] = field(default_factory=list)
    complete: str = ""
    """Its source, if all classes of that were annotated."""
    scene: str = ""
    """Its source, if that is one of SCENES."""


@dataclass
class Text:
    """One training text: its words, the names in it with whether they are there, and the share that is."""

    text: str
    names: list[str]
    there: list[float]
    match: float
    concepts: list[int] = field(default_factory=list)


class Knowledge:
    """All photos of the training split with what is present and what is not."""

    def __init__(self, data: Path, more: Path | None, imagenet_probs: np.ndarray):
        self.concepts: Concepts = read_concepts()
        names = (data / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
        self.imagenet = imagenet_concepts(self.concepts, names)
        self.concepts.add("nothing")
        records = read_records(data, more)
        for record in records:
            for tag in record["tags"]:
                tag_concept(self.concepts, tag)
        self.roots: dict[int, set[int]] = {}
        for index in range(len(self.concepts.items)):
            self.roots.setdefault(self.root(index), set()).add(index)
        reader = CaptionReader(self.concepts)
        rows = [i for i, record in enumerate(records) if record["split"] == "train"]
        self.voc = [self.concepts.by_name[name] for name in VOC]
        self.complete = self._complete(more)
        self.elsewhere = {s: {self.concepts.add(name) for name in names} for s, names in SCENES.items()}
        self.photos = [self._photo(i, records[i], reader, imagenet_probs[i]) for i in rows]
        counts = np.zeros(len(self.concepts.items))
        for photo in self.photos:
            counts[list(photo.present)] += 1
        self.counts = counts
        self.together = np.zeros((len(counts), len(counts)), np.float32)
        """In how many photos two concepts are both there (C, C)."""
        for photo in self.photos:
            there = list(photo.present)
            self.together[np.ix_(there, there)] += 1

    def root(self, index: int) -> int:
        while self.concepts.items[index].parent is not None:
            index = self.concepts.items[index].parent
        return index

    def _complete(self, more: Path | None) -> dict[str, set[int]]:
        """Source → the concepts whose absence its tags tell."""
        known = {"voc2012": set(self.voc)}
        if more is not None:
            lists = json.loads((more / "classes.json").read_text(encoding="utf-8"))
            for source, names in lists.items():
                told = {tag_concept(self.concepts, name) for name in names if name not in UNTOLD[source]}
                known[source] = told
            known["coco-train"] = known["coco128"]
        return known

    def _photo(self, row: int, record: dict, reader: CaptionReader, probs: np.ndarray) -> Photo:
        photo = Photo(row, record["path"], captions=record["captions"])
        told = record.get("complete", record["source"] in self.complete)
        photo.complete = record["source"] if told else ""
        photo.scene = record["source"] if record["source"] in SCENES else ""
        found = reader.mentioned(record["captions"])
        found |= {tag_concept(self.concepts, tag): tag for tag in record["tags"]}
        self._add_seen(photo, found, probs)
        for index, name in found.items():
            for kind in self.concepts.ancestors(index):
                photo.present.setdefault(kind, name if kind == index else self.concepts.items[kind].names[0])
        for index in list(photo.present):
            photo.blocked |= self.roots[self.root(index)]
        photo.blocked |= {i for i, c in enumerate(self.concepts.items) if c.unmentioned}
        if not photo.captions:
            photo.blocked |= set().union(*(self.roots[self.root(self.concepts.by_name[name])] for name in UNTAGGED))
        return photo

    def _add_seen(self, photo: Photo, found: dict[int, str], probs: np.ndarray) -> None:
        """What the ImageNet trunk is sure of is there; what it finds possible is not called absent."""
        known = self.complete.get(photo.complete, set())
        for index in np.flatnonzero(probs > 0.02):
            own = self.imagenet[index]
            photo.blocked |= self.roots[self.root(own)]
            if probs[index] > 0.5 and not (self.concepts.ancestors(own) & known):
                found.setdefault(own, self.concepts.items[own].names[0])

    def is_absent(self, photo: Photo, index: int) -> bool:
        """Whether the concept may be called absent; tags that are complete say so for certain."""
        if index in self.complete.get(photo.complete, ()):
            return index not in photo.present
        if photo.scene:
            return index in self.elsewhere[photo.scene] and index not in photo.present
        return index not in photo.blocked and index not in photo.present


class TextSampler:
    """Texts for a photo, in proportions that leave every name as often absent as present."""

    def __init__(self, knowledge: Knowledge, seed: int):
        self.knowledge, self.random = knowledge, np.random.default_rng(seed)
        usual = knowledge.counts**0.75
        self.pool = np.cumsum(usual) / usual.sum()
        self.voc_pool = np.array(knowledge.voc)
        coco = [knowledge.concepts.by_name[n] for n in COCO_ONLY if n in knowledge.concepts.by_name]
        self.objects = np.array(coco + knowledge.voc)
        self.told = {source: np.array(sorted(known)) for source, known in knowledge.complete.items()}
        self.elsewhere = {source: np.array(sorted(far)) for source, far in knowledge.elsewhere.items()}

    def absent(self, photo: Photo, count: int) -> list[int]:
        """Concepts that are not there: half of them classes of the vocabularies, the rest as often as they occur.

        Where tags are complete a third is what is often there beside what the photo shows.
        """
        found: list[int] = []
        for _ in range(8 * count + 8):
            if len(found) == count:
                break
            draw = self.random.random()
            if photo.complete and photo.present and self.random.random() < 0.35:
                index = self._often_beside(photo)
                if index not in self.knowledge.complete[photo.complete]:
                    continue
            elif photo.complete and draw < 0.6:
                index = int(self.random.choice(self.told[photo.complete]))
            elif photo.scene:
                index = int(self.random.choice(self.elsewhere[photo.scene]))
            elif draw < 0.35:
                index = int(self.random.choice(self.voc_pool))
            elif draw < 0.65:
                index = int(self.random.choice(self.objects))
            else:
                index = int(np.searchsorted(self.pool, self.random.random()))
            if index not in found and self.knowledge.is_absent(photo, index):
                found.append(index)
        return found

    def _often_beside(self, photo: Photo) -> int:
        """A concept drawn as often as it is there beside one of the photo's own."""
        own = list(photo.present)
        beside = self.knowledge.together[own[int(self.random.integers(len(own)))]].cumsum()
        return int(np.searchsorted(beside, self.random.random() * beside[-1], side="right"))

    def name(self, photo: Photo, index: int) -> str:
        """The name used of a present concept, or now and then a synonym."""
        names = self.knowledge.concepts.items[index].names
        given = photo.present.get(index, names[0])
        return given if self.random.random() < 0.6 else names[int(self.random.integers(min(len(names), 4)))]

    def list_text(self, photo: Photo, present: int, absent: int) -> Text:
        """A list of at most `present` concepts that are there and `absent` that are not, in random order."""
        there = list(photo.present)
        weights = 1 / np.sqrt(self.knowledge.counts[there] + 5) if there else None
        if there:
            size = min(present, len(there))
            there = list(self.random.choice(there, size, replace=False, p=weights / weights.sum()))
        chosen = [(i, 1.0) for i in there] + [(i, 0.0) for i in self.absent(photo, absent)]
        self.random.shuffle(chosen)
        chosen = chosen or [(self.knowledge.concepts.add("nothing"), 0.0)]
        names, flags = [self.name(photo, int(i)) for i, _ in chosen], [flag for _, flag in chosen]
        return Text(f"{PROMPT} {' '.join(names)}", names, flags, float(np.mean(flags)), [int(i) for i, _ in chosen])

    def caption_text(self, photo: Photo) -> Text:
        """Its own caption, or one of a photo that shares no concept with it."""
        if self.random.random() < 0.5:
            return Text(str(self.random.choice(photo.captions)), [], [], 1.0)
        for _ in range(10):
            other = self.knowledge.photos[int(self.random.integers(len(self.knowledge.photos)))]
            if other.captions and len(set(other.present) & set(photo.present)) <= 1:
                return Text(str(self.random.choice(other.captions)), [], [], 0.0)
        return self.list_text(photo, 0, 2)

    def texts(self, photo: Photo) -> list[Text]:
        """Twelve texts: two single names, two short lists, a longer list, a caption or another list, six more single names."""
        draw = self.random.integers
        longer = self.list_text(photo, int(draw(1, 7)), int(draw(2, 6 if draw(2) else 24)))
        last = self.caption_text(photo) if photo.captions else self.list_text(photo, 0, 1)
        return [
            self.list_text(photo, 1, 0),
            self.list_text(photo, 0, 1),
            self.list_text(photo, int(draw(1, 4)), 0),
            self.list_text(photo, int(draw(1, 3)), 1),
            longer,
            last,
            *[self.list_text(photo, 1, 0) for _ in range(2)],
            *[self.list_text(photo, 0, 1) for _ in range(4)],
        ]
