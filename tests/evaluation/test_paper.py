import pytest

from pnp_ovss.datasets import list_datasets
from pnp_ovss.evaluation.paper import paper_figure, read_tables, validation_images

MIOU_TABLES = ("table3", "table4", "table5", "table6", "table8")


def blip(table: str, column: str, size: str) -> float:
    return paper_figure(table, column, ours=True, checkpoint="BLIP-Flickr", size=size)


def test_all_tables_are_there_with_all_their_rows():
    rows = {name: len(table.rows) for name, table in read_tables().items()}
    assert rows == {
        "table1": 16,
        "table2": 7,
        "table3": 26,
        "table4": 8,
        "table5": 9,
        "table6": 24,
        "table7": 23,
        "table8": 3,
        "speed": 3,
    }


def test_every_figure_is_a_share_in_per_cent_with_a_policy():
    for name in MIOU_TABLES:
        for row in read_tables()[name].rows:
            assert row.values, (name, row)
            assert all(0 < value < 100 for value in row.values.values()), (name, row)
            assert row.policy == ("oracle" if row.ours else "all"), (name, row)


def test_the_columns_are_our_data_sets():
    for name in MIOU_TABLES:
        assert set(read_tables()[name].columns) <= set(list_datasets())
    assert validation_images("voc") == 1449
    assert validation_images("camvid") is None


@pytest.mark.parametrize(
    ("column", "size", "rival", "rival_size", "gain"),
    [
        # Section 4.2: gains over Group 3 and Group 2 "on an equal-resolution basis"
        ("voc", "448", "Reco", "448", 29.4),
        ("context", "320", "Reco", "320", 13.2),
        ("coco-object", "448", "Reco", "448", 14.0),
        ("ade20k", "448", "Reco", "448", 11.4),
        ("voc", "448", "ZeroSeg", "448", 13.7),
        ("context", "336", "MaskClip w/ ST", "336", 9.6),
        ("coco-object", "448", "ZeroSeg", "448", 9.5),
        ("coco-stuff", "336", "MaskClip w/ ST", "336", 11.6),
        ("ade20k", "448", "MaskClip w/ ST", "448", 12.8),
    ],
)
def test_the_gains_of_the_text_follow_from_table_3(column, size, rival, rival_size, gain):
    other = paper_figure("table3", column, system=rival, size=rival_size)
    assert blip("table3", column, size) - other == pytest.approx(gain)


def test_the_gain_of_the_abstract_on_coco_stuff():
    assert blip("table3", "coco-stuff", "320") - paper_figure("table3", "coco-stuff", system="Reco", size="320") == (
        pytest.approx(2.4)
    )


def test_the_steps_of_the_text_follow_from_table_5():
    stages = {row.keys["stage"]: row.values for row in read_tables()["table5"].rows}
    for before, after, context, stuff in [
        ("gradcam", "drop1", 3.5, 2.3),
        ("drop1", "drop2", 1.4, 0.8),
        ("drop4", "blur", 9.6, 7.7),
        ("blur", "crf", -1.5, 3.2),
    ]:
        assert stages[after]["context"] - stages[before]["context"] == pytest.approx(context)
        assert stages[after]["coco-stuff"] - stages[before]["coco-stuff"] == pytest.approx(stuff)


def test_tables_5_and_6_end_where_table_3_does():
    assert paper_figure("table5", "context", stage="blur+crf") == blip("table3", "context", "768")
    assert paper_figure("table5", "coco-stuff", stage="blur+crf") == blip("table3", "coco-stuff", "768")
    assert paper_figure("table6", "coco-stuff", layer=8, head=10) == blip("table3", "coco-stuff", "336")


def test_table_6_has_the_best_head_of_table_2():
    heads = {row.keys["head"]: row.values["coco-stuff"] for row in read_tables()["table6"].find(layer=8)}
    best = max((head for head in heads if head != "mean"), key=heads.__getitem__)
    assert best == paper_figure("table2", "solution", checkpoint="BLIP", parameter="head")
    means = [row.values["coco-stuff"] for row in read_tables()["table6"].find(head="mean")]
    assert max(means) - min(means) == pytest.approx(20)


def test_a_dash_is_none_and_an_ambiguous_question_is_an_error():
    assert paper_figure("table3", "ade20k", system="ViewCo") is None
    with pytest.raises(LookupError, match="2 rows with"):
        paper_figure("table3", "voc", system="Reco")
    with pytest.raises(LookupError, match="columns"):
        paper_figure("table5", "voc", stage="crf")
