"""Runs over a data set: numbers by hand, policies, failures, records."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.candidates import Candidates
from pnp_ovss.datasets import VOID
from pnp_ovss.errors import OutputError
from pnp_ovss.evaluation.examples import image_miou
from pnp_ovss.evaluation.metrics import compute, empty_confusion, update
from pnp_ovss.evaluation.records import ImageRecord, read_records
from pnp_ovss.evaluation.report import read_report, summarise
from pnp_ovss.evaluation.run import RunOptions, run
from pnp_ovss.evaluation.systems import dataset_settings


def test_a_perfect_system_scores_one(rectangles, painter, records):
    report = summarise(run(rectangles, lambda: painter(rectangles), records))
    assert report.miou == report.miou_without_background == report.pixel_accuracy == 1
    assert report.interval == (1, 1)
    assert (report.images, report.failed) == (12, 0)
    assert set(report.per_class) == {"background", "red", "green", "blue", "yellow"}


def test_a_system_wrong_on_some_images_has_the_ious_by_hand(rectangles, painter, records):
    wrong = ("00",)  # its red square is called background
    report = summarise(run(rectangles, lambda: painter(rectangles, wrong), records))
    # red is on the left in 00 04 08 and, as the neighbour of yellow, on the right in 03 07 11: 5 squares of 6 found
    assert report.images_per_class == {"red": 6, "green": 3, "blue": 6, "yellow": 3}
    assert report.per_class["red"] == pytest.approx(5 / 6, abs=1e-6)
    square, frame = 32 * 32, 60 * 96 * 12
    actual = frame - 18 * square
    assert report.per_class["background"] == pytest.approx(actual / (actual + square), abs=1e-6)
    assert report.miou == pytest.approx((actual / (actual + square) + 5 / 6 + 3) / 5, abs=1e-6)


def test_the_real_segmenter_finds_the_rectangles(rectangles, fake_system, records):
    results = run(rectangles, fake_system, records)
    report = summarise(results)
    assert report.policy == "itm"
    assert report.presence == {"precision": 1, "recall": 1, "micro_f1": 1, "ap": 1, "kept": 1.5, "present": 1.5}
    assert [row["names"] for row in report.presence_by_list] == [3, 4]
    read = read_records(results.path)[1]  # scores come back as they were written
    assert [again.scores[""] for again in read] == [pytest.approx(r.scores[""], abs=1e-4) for r in results.records]
    assert report.miou_without_background > 0.5
    assert report.model == "fake"
    assert report.size == 96
    total = empty_confusion(4)
    for sample in rectangles:
        labels = fake_system().segmenter(sample.image, rectangles.names).labels
        total = update(total, sample.labels(), labels)
    assert report.miou == pytest.approx(compute(total, background=True).miou, abs=1e-6)


def test_without_background_every_pixel_gets_a_class(stuff, fake_system, records):
    results = run(stuff, partial(fake_system, **dataset_settings(stuff.has_background)), records)
    assert all(counts.confusion()[:, 0].sum() == 0 for counts in results.counts())
    assert "background" not in summarise(results).per_class


def test_the_oracle_keeps_what_is_there(rectangles, fake_system, records):
    results = run(rectangles, partial(fake_system, policy="oracle"), records)
    assert all(record.kept[""] == record.present for record in results.records)
    assert summarise(results).presence["micro_f1"] == 1
    assert summarise(run(rectangles, partial(fake_system, policy="all"), records)).presence["precision"] < 0.5


def test_the_policy_file_reads_its_list(rectangles, fake_system, records):
    def make():
        system = fake_system(policy="file")
        return type(system)(system.segmenter, Candidates({sample.id: ["red"] for sample in rectangles}))

    results = run(rectangles, make, records)
    assert {record.kept[""] for record in results.records} == {(1,)}


def test_void_as_background_counts_more_pixels(rectangles, painter, records):
    plain = run(rectangles, lambda: painter(rectangles), records)
    counted = run(rectangles, lambda: painter(rectangles), records, RunOptions(void="background"))
    pixels = [sum(int(counts.counts.sum()) for counts in results.counts()) for results in (plain, counted)]
    assert pixels == [12 * 60 * 96, 12 * 64 * 96]
    assert summarise(counted).void == "background"


def test_labels_are_saved_and_can_be_scored_again(rectangles, fake_system, records, tmp_path):
    results = run(rectangles, fake_system, records, RunOptions(save_labels=tmp_path / "labels"))
    total = empty_confusion(4)
    for sample in rectangles:
        with Image.open(tmp_path / f"labels/{sample.id}.png") as picture:
            total = update(total, sample.labels(), np.array(picture).astype(np.int32))
    assert compute(total, background=True).miou == pytest.approx(summarise(results).miou, abs=1e-6)


# Failures


def test_a_broken_image_is_a_failure_and_the_rest_goes_on(rectangles, painter, records):
    system = painter(rectangles)
    rectangles[3].image.write_bytes(b"no picture")
    Image.new("L", (5, 7)).save(rectangles[4].labels.path)
    report = summarise(run(rectangles, lambda: system, records))
    assert (report.images, report.failed) == (10, 2)
    assert [failure["id"] for failure in report.failures] == ["03", "04"]
    assert "is 96 x 64 px and its mask 5 x 7 px: not one picture" in report.failures[1]["error"]


def test_nothing_but_failures_is_an_error(rectangles, painter, records):
    system = painter(rectangles)
    for sample in rectangles:
        sample.image.write_bytes(b"no picture")
    with pytest.raises(OutputError, match="no image of 12 could be evaluated, first 00: "):
        summarise(run(rectangles, lambda: system, records))


def test_failed_images_are_tried_again(rectangles, painter, records):
    system = painter(rectangles)
    good = rectangles[3].image.read_bytes()
    rectangles[3].image.write_bytes(b"no picture")
    run(rectangles, lambda: system, records)
    rectangles[3].image.write_bytes(good)
    system.asked.clear()
    assert summarise(run(rectangles, lambda: system, records, RunOptions(resume=True))).failed == 0
    assert system.asked == ["03"]


# Records and reports


def test_a_record_goes_through_json(rectangles, fake_system, records):
    results = run(rectangles, fake_system, records)
    header, again = read_records(records)
    assert header["settings"]["config"]["layer"] == 2
    for record, copy in zip(results.records, again, strict=True):
        assert (copy.id, copy.present, copy.kept) == (record.id, record.present, record.kept)
        assert np.array_equal(copy.counts[""].confusion(), record.counts[""].confusion())
    failed = ImageRecord("x", error="why")
    assert ImageRecord.from_json(json.loads(json.dumps(failed.to_json())), 5) == failed


def test_a_report_goes_through_json(rectangles, painter, records, tmp_path):
    report = summarise(run(rectangles, lambda: painter(rectangles, ("02",)), records))
    report.save(tmp_path / "deep/report.json")
    assert read_report(tmp_path / "deep/report.json") == report
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(OutputError, match="is no report"):
        read_report(tmp_path / "bad.json")
    with pytest.raises(OutputError, match="cannot read the report"):
        read_report(tmp_path / "none.json")


def test_the_hash_knows_settings_and_images(rectangles, painter, records):
    hashes = {
        summarise(run(data, lambda wrong=wrong: painter(rectangles, wrong), records)).config_hash
        for data, wrong in [(rectangles, ()), (rectangles, ("01",)), (rectangles.subset(6), ())]
    }
    assert len(hashes) == 3


def test_each_images_own_miou(rectangles, painter, records):
    values = image_miou(run(rectangles, lambda: painter(rectangles, ("02",)), records))
    assert values["00"] == 1
    assert 0 < values["02"] < 0.5
    assert VOID not in values
