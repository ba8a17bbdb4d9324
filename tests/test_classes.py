"""Class names: what separates them, when two are one, what is refused and what is only remarked."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnp_ovss.classes import (
    MAX_CLASSES,
    Classes,
    class_rows,
    name_key,
    parse_class_lines,
    parse_classes,
    read_class_file,
    split_names,
)
from pnp_ovss.errors import ClassNameError


@pytest.mark.parametrize(
    "written",
    [
        "cat, dog, cup",
        "cat; dog; cup",
        "cat，dog、cup",
        "cat；dog，cup",
        "cat . dog . cup .",
        "cat. dog. cup.",
        "cat\ndog\ncup\n",
        "cat,\r\ndog,\r\n\r\ncup,",
        "['cat', 'dog', 'cup']",
        '["cat", "dog", "cup"]',
        "cat\tdog\tcup",
        "cat، dog؛ cup",
        '"cat", "dog", \'cup\'',
        "\u202ecat\u202c, \u2067dog\u2069, cup",
    ],
)
def test_a_list_means_the_same_however_it_is_separated(written):
    assert parse_classes(written).names == ("cat", "dog", "cup")


@pytest.mark.parametrize(
    "name",
    ["St. Bernard", "[bold]", "C#", "A+ sign", "salt & pepper", "1.5 l bottle", "cat's bed", "rock'n'roll", "24/7"],
)
def test_a_name_with_signs_stays_whole(name):
    assert parse_classes(name).names == (name,)
    assert parse_classes(f"{name}, x").names == (name, "x")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("", "no class names"),
        ("  ", "no class names"),
        ([], "no class names"),
        (",", "no class names"),
        ("cat,,dog", "is empty"),
        (["cat", " "], "is empty"),
        (["cat", ()], "is empty"),
        (["\u200b"], "is empty"),
        (["cat", "Cat"], "'cat' and 'Cat' are given twice"),
        (["cat", "ca\u200bt"], r"'cat' and 'ca\u200bt' are given twice"),
        (["traffic light", "Traffic_Light"], "'traffic light' and 'Traffic_Light' are given twice (class 1 and 2)"),
        ([("sofa", "couch"), "couch"], "given twice (class 1 and 2)"),
        (["x" * 301], "301 characters"),
        ([3], "must be text"),
        (3, "must be a text or a list"),
        ({"cat", "dog"}, "must be a text or a list of names, not set"),
        (["cat\x1b[31m"], "U+001B"),
        (["\udce9"], "U+DCE9"),
    ],
)
def test_bad_names(names, words):
    with pytest.raises(ClassNameError) as caught:
        parse_classes(names)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_classes_than_labels_are_refused_before_any_work():
    names = [f"n{i}" for i in range(MAX_CLASSES + 1)]
    with pytest.raises(ClassNameError, match="65536 classes were given; labels are 16 bit: at most 65535"):
        parse_classes(names)
    assert len(parse_classes(names[:-1])) == 65_535


def test_names_are_tidied_and_300_characters_are_fine():
    assert parse_classes([" potted \n plant ", "x" * 300, "猫", "\ufeffcat\u200b"]) == (
        ("potted plant",),
        ("x" * 300,),
        ("猫",),
        ("cat",),
    )


def test_classes_are_parsed_once():
    classes = parse_classes("cat, dog")
    assert isinstance(classes, Classes)
    assert parse_classes(classes) is classes


@pytest.mark.parametrize(
    "names",
    [
        ("หมี", "หมู", "แมว"),
        ("भालू", "भाल", "बिल्ली"),
        ("🐱", "🐶", "🐱🐶"),
        ("C", "C++", "C#"),
        ("1+1", "11"),
        ("-1 C", "1 C"),
        ("A", "A-", "A+"),
        ("café", "cafe"),
    ],
)
def test_different_names_are_different(names):
    assert len({name_key(name) for name in names}) == len(names)
    assert parse_classes(list(names)).names == names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        ("traffic light", "traffic-light"),
        ("traffic light", "traffic_light"),
        ("traffic  light", "traffic\u00a0light"),
        ("cafe\u0301", "café"),
        ("ｃａｔ", "cat"),
        ("cat", "cat\u200b"),
        ("❤", "❤\ufe0f"),
        ("Straße", "STRASSE"),
        ("co\u2011pilot", "co-pilot"),
    ],
)
def test_two_spellings_are_one_name(one, other):
    assert name_key(one) == name_key(other)


@given(st.text(max_size=12))
def test_the_key_of_a_key_is_itself(name):
    assert name_key(name_key(name)) == name_key(name)


def test_likely_mistakes_are_remarked_once(caplog):
    with caplog.at_level(logging.WARNING, "pnp_ovss"):
        for _ in range(2):
            parse_classes(["gnu", "gnus", "lily", "lilies", "box; jar", "boxes", "elk . emu"])
    assert caplog.messages == [
        "'gnu' and 'gnus' compete: is one the plural of the other?",
        "'lily' and 'lilies' compete: is one the plural of the other?",
        "one class is named 'box; jar': are these several names, separated by ';'?",
        "one class is named 'elk . emu': are these several names, separated by '.'?",
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ant | bee", "separated by '|'"),
        ("ant / bee", "separated by '/'"),
        ("ant・bee", "separated by '・'"),
        ("[asp, bat]", "'[asp': a list is names with commas between"),
        ("('auk', 'boa')", "'('auk'': a list is names"),
        ('"ape, large", bug', "'\"ape': a list is names"),
        ('names: ["ass", "bot"]', "'names: [\"ass\"': a list is names"),
        ("1. eel, 2. emu", "all classes begin like '1. eel'"),
        ("0, 1", "all classes begin like '0'"),
        ("- cod, - cow", "all classes begin like '- cod'"),
    ],
)
def test_what_looks_like_another_kind_of_list_is_remarked(caplog, written, said):
    with caplog.at_level(logging.WARNING, "pnp_ovss"):
        parse_classes(written)
    assert any(said in message for message in caplog.messages)


def test_names_with_signs_are_not_remarked(caplog):
    with caplog.at_level(logging.WARNING, "pnp_ovss"):
        parse_classes(["dog (large)", "[/x]", "3 cows", "cat", "C++", "24/7", "Bob's hat"])
    assert not caplog.messages


def test_synonyms_may_be_plurals(caplog):
    with caplog.at_level(logging.WARNING, "pnp_ovss"):
        parse_classes([("stair", "stairs"), "wall"])
    assert not caplog.messages


def test_class_file_lines():
    text = "\ufeffsofa, couch\n\n# pets\n cat # tabby\nC# cup\ncat #1\nwall; partition,\n#dog\n"
    expected = (("sofa", "couch"), ("cat",), ("C# cup",), ("cat #1",), ("wall", "partition"))
    assert parse_class_lines(text) == expected
    assert class_rows(text[1:].split("\n")) == class_rows(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_class_file_of_any_editor(tmp_path, encoding, end):
    path = tmp_path / "classes.txt"
    path.write_bytes(f"cat{end}dög, hound{end}".encode(encoding))
    assert read_class_file(path) == (("cat",), ("dög", "hound"))


def test_a_class_file_that_is_no_text_is_one_line(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes(b"cat\ncaf\xe9\n")
    with pytest.raises(ClassNameError, match=r"the class file .*classes\.txt is not UTF-8 text \(line 2\)"):
        read_class_file(path)
    path.write_bytes(b"cat\nCat\n")
    with pytest.raises(ClassNameError, match=r"classes\.txt: class names 'cat' and 'Cat' are given twice"):
        read_class_file(path)


def parsed(names) -> Classes | None:
    """The classes, or None where they are refused in one line; anything else is an error of the test."""
    try:
        return parse_classes(names)
    except ClassNameError as error:
        if "\n" in str(error):
            raise
        return None


@given(st.text(max_size=60))
def test_any_text_is_a_list_or_one_clear_line(text):
    if (classes := parsed(text)) is not None:
        assert parse_classes(list(classes)) == classes
        assert len(classes) == len(split_names(text))


@given(st.lists(st.text(min_size=1, max_size=12).filter(lambda n: n.strip() and "," not in n), min_size=1, max_size=8))
def test_any_names_are_taken_or_refused_in_one_line(names):
    if (classes := parsed(names)) is not None:
        assert len(classes) == len(names)
