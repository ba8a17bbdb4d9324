import pytest

from pnp_ovss.datasets import get_split, get_vocabulary, list_splits, list_vocabularies, read_vocabulary
from pnp_ovss.datasets.vocabulary import make_vocabulary
from pnp_ovss.errors import ClassNameError, DatasetError

COUNTS = {"voc20": 20, "context59": 59, "coco_object80": 80, "coco_stuff171": 171, "ade150": 150}
"""Section 4.1 of the paper."""


def joined(name: str) -> str:
    return name.replace(" ", "")


def test_the_vocabularies_are_the_papers():
    assert {name: len(get_vocabulary(name)) for name in list_vocabularies()} == COUNTS


@pytest.mark.parametrize("name", COUNTS)
def test_every_name_finds_its_own_class(name):
    vocabulary = get_vocabulary(name)
    assert len(set(vocabulary.names)) == len(vocabulary)
    for label, synonyms in enumerate(vocabulary.classes, start=1):
        assert [vocabulary.label(synonym) for synonym in synonyms] == [label] * len(synonyms)


def test_voc_has_the_devkits_names_in_order():
    devkit = (
        "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
        "pottedplant sheep sofa train tvmonitor"
    )
    assert [joined(name) for name in get_vocabulary("voc20").names] == devkit.split()


def test_context_is_voc_with_a_table_and_39_more_classes_in_both_known_orders():
    context = get_vocabulary("context59")
    voc = ["table" if name == "dining table" else name for name in get_vocabulary("voc20").names]
    assert list(context.names[:20]) == voc
    alphabetical = (
        "aeroplane bag bed bedclothes bench bicycle bird boat book bottle building bus cabinet car cat ceiling "
        "chair cloth computer cow cup curtain dog door fence floor flower food grass ground horse keyboard light "
        "motorbike mountain mouse person plate platform pottedplant road rock sheep shelves sidewalk sign sky "
        "snow sofa table track train tree truck tvmonitor wall water window wood"
    )
    assert [joined(name) for name in sorted(context.names)] == alphabetical.split()
    spellings = ("diningtable", "clothes", "bedcloth", "tvmonitor")  # as 59_labels.txt writes them
    assert [context.names[context.label(name) - 1] for name in spellings] == [
        "table",
        "cloth",
        "bedclothes",
        "tv monitor",
    ]
    late = "mouse curtain platform sign plate road rock shelves sidewalk sky snow bedclothes track tree"
    assert list(context.names[40:54]) == late.split()  # where 59_labels.txt leaves the alphabet


def test_stuff_begins_with_the_objects_and_goes_on_in_the_alphabet():
    stuff = get_vocabulary("coco_stuff171")
    assert stuff.classes[:80] == get_vocabulary("coco_object80").classes
    # in the original spelling ("door-stuff", "playingfield") the list is sorted; spaces keep that order but one
    assert list(stuff.names[80:]) == sorted(stuff.names[80:])
    assert [stuff.label(name) for name in ("banner", "wall-concrete", "playingfield", "wood")] == [81, 161, 134, 171]


def test_ade_has_the_usual_first_names_at_known_places():
    ade = get_vocabulary("ade150")
    places = {1: "wall", 2: "building", 13: "person", 24: "sofa", 45: "chest of drawers", 66: "toilet", 90: "tv"}
    places |= {100: "buffet", 117: "minibike", 127: "animal", 137: "traffic light", 142: "crt screen", 150: "flag"}
    assert {label: name for label, name in places.items() if ade.label(name) != label} == {}


def test_an_unknown_class_is_an_error_that_lists_the_classes():
    with pytest.raises(ClassNameError, match=r"'unicorn' is no class of the vocabulary 'voc20'.*aeroplane"):
        get_vocabulary("voc20").label("unicorn")


def test_an_unknown_vocabulary_is_an_error():
    with pytest.raises(DatasetError, match="no vocabulary 'voc21'; there are ade150, coco_object80"):
        get_vocabulary("voc21")


def test_a_class_file_is_read_with_comments_and_synonyms(tmp_path):
    path = tmp_path / "zoo.txt"
    path.write_text("# animals\nzebra\n\nhippo , hippopotamus\n", encoding="utf-8")
    zoo = read_vocabulary(path)
    assert zoo.name == "zoo"
    assert zoo.names == ("zebra", "hippo")
    assert zoo.label("Hippopotamus") == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cat", "dog", "Cat"], r"'cat' and 'Cat' are given twice \(class 1 and 3\)"),
        (["cat", "dog, , hound"], r"pets: one of the class names is empty.*synonyms after commas"),
        (["# only a comment"], "no classes"),
    ],
)
def test_a_bad_class_list_is_an_error(lines, message):
    with pytest.raises(DatasetError, match=message):
        make_vocabulary("pets", lines)


def test_a_missing_or_binary_class_file_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot read the class file .*nothing\.txt"):
        read_vocabulary(tmp_path / "nothing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"binary\.txt"):
        read_vocabulary(tmp_path / "binary.txt")


SPLIT_SIZES = {
    ("unseen", "voc20"): 5,
    ("unseen", "context59"): 10,
    ("unseen", "coco_stuff171"): 15,
    ("vil-seg", "voc20"): 5,
    ("vil-seg", "context59"): 4,
    ("vil-seg", "coco_stuff171"): 15,
}


def test_the_splits_have_the_papers_sizes():
    assert {key: len(get_split(*key).labels) for key in list_splits()} == SPLIT_SIZES


@pytest.mark.parametrize("key", SPLIT_SIZES)
def test_a_split_names_distinct_classes_of_its_vocabulary(key):
    split = get_split(*key)
    vocabulary = get_vocabulary(split.vocabulary)
    assert [vocabulary.names[label - 1] for label in split.labels] == list(split.names)
    assert len(set(split.labels)) == len(split.labels) == len(split.paper_names)
    assert split.source.startswith("supplement")


def test_the_odd_spellings_of_the_supplement_are_mapped():
    stuff = get_split("unseen", "coco_stuff171")
    spelling = dict(zip(stuff.paper_names, stuff.names, strict=True))
    assert spelling["wallconcrete"] == "wall concrete"
    assert spelling["playingfield"] == "playing field"
    assert spelling["clouds"] == "clouds"
    assert get_split("unseen", "voc20").paper_names[-1] == "tvmonitor"
    assert get_split("unseen", "context59").names[-1] == "aeroplane"


def test_an_unknown_split_is_an_error():
    with pytest.raises(DatasetError, match="no split 'unseen' of the vocabulary 'ade150'; there are unseen of voc20"):
        get_split("unseen", "ade150")
