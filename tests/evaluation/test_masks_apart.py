"""Figures of a model that learned from masks, in every table of several runs: marked, and after those without masks."""

from dataclasses import replace

import pytest

from pnp_ovss.evaluation.ablation import AblationSystem, ablation_table
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import run
from pnp_ovss.evaluation.sensitivity import sensitivity_table
from pnp_ovss.evaluation.tables import DASH, MASKS_NOTE, beside_paper, compare, splits
from pnp_ovss.refiners import TRAINED_ON_MASKS, get_refiner

SAM = get_refiner("sam").name


@pytest.fixture
def free(rectangles, fake_system, records):
    return summarise(run(rectangles.subset(2), fake_system, records))


def test_only_the_refiner_that_learned_from_masks_says_so(free):
    trained = [name for name in ("densecrf", "pamr", "sam", "none") if TRAINED_ON_MASKS in get_refiner(name).name]
    assert trained == ["sam"]
    assert not free.trained_on_masks
    assert replace(free, refine=SAM).trained_on_masks


def test_without_them_a_table_has_neither_mark_nor_note(free):
    for table in (beside_paper([free, free]), compare([free, free], {}), sensitivity_table({"2/2": free}, "full")):
        assert MASKS_NOTE not in table.notes
        assert not any(TRAINED_ON_MASKS in cell for row in table.rows for cell in row)
        assert "masks" not in table.columns


def test_beside_the_paper_they_come_last_and_are_marked(free):
    """The paper's rows that had dense labels are no others than ours."""
    first, second = replace(free, dataset="voc/unseen", refine=SAM), replace(free, dataset="voc/unseen", model="other")
    table = beside_paper([first, second])
    at = table.columns.index("masks")
    marks = [row[at] for row in table.rows]
    assert marks == sorted(marks, key=(DASH, TRAINED_ON_MASKS).index)
    trained = [row[0] for row in table.rows if row[at] == TRAINED_ON_MASKS]
    assert trained[0] == "here: PnP-OVSS, fake"
    assert "LSeg" in trained
    assert table.rows[0][0] == "here: PnP-OVSS, other"
    assert table.notes[-1] == MASKS_NOTE
    assert table.text_columns == at + 1


def test_class_splits_mark_them(free):
    table = splits(replace(free, dataset="voc", splits={"unseen": 0.5}, refine=SAM))
    marks = {row[1]: row[2] for row in table.rows}
    assert marks["here: fake"] == marks["SimBase"] == TRAINED_ON_MASKS
    assert marks["PnP-OVSS, BLIP-Flickr"] == DASH


def test_side_by_side_they_are_marked(free):
    table = compare([free, replace(free, refine=SAM)], {})
    assert ("masks", DASH, TRAINED_ON_MASKS) in table.rows
    assert table.notes[-1] == MASKS_NOTE


def test_the_rows_of_an_ablation_that_they_made_are_marked(rectangles, fake_system, records):
    results = run(rectangles.subset(2), lambda: AblationSystem(fake_system(policy="oracle").segmenter), records)
    table = ablation_table({name: replace(summarise(results, name), refine=SAM) for name in results.variants})
    marked = [row[0] for row in table.rows if TRAINED_ON_MASKS in row[0]]
    assert marked == [f"+ Drop 4 + {SAM}", f"+ Drop 4 + Blur + {SAM}"]
    assert not any("CRF" in row[0] for row in table.rows)
    assert MASKS_NOTE in table.notes


def test_layers_and_heads_with_them_say_so(free):
    assert MASKS_NOTE in sensitivity_table({"2/2": replace(free, refine=SAM)}, "full").notes
