"""Interrupted runs give the numbers of a whole one; records of other runs are not taken for theirs."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pnp_ovss.errors import ConfigError, OutputError, PnPError
from pnp_ovss.evaluation.records import read_records
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import RunOptions, run
from tests.evaluation.bright import Bright

# Resuming


class InterruptError(Exception):
    """Stands for whatever ends a run."""


def test_an_interrupted_run_gives_the_numbers_of_a_whole_one(rectangles, fake_system, records, tmp_path):
    whole = summarise(run(rectangles, fake_system, tmp_path / "whole.jsonl"))

    def stop(done, total, confusion):
        if done == 5:
            raise InterruptError

    with pytest.raises(InterruptError):
        run(rectangles, fake_system, records, progress=stop)
    assert len(read_records(records)[1]) == 5
    seen = []
    resumed = run(
        rectangles, fake_system, records, RunOptions(resume=True), progress=lambda done, *_: seen.append(done)
    )
    assert seen == [5, 6, 7, 8, 9, 10, 11, 12]
    ours, theirs = summarise(resumed).to_dict(), whole.to_dict()
    for timing in ("seconds_per_image", "records"):
        del ours[timing], theirs[timing]
    assert ours == theirs


def test_a_torn_last_line_is_made_again(rectangles, painter, records):
    whole = summarise(run(rectangles, lambda: painter(rectangles, ("02",)), records))
    records.write_bytes(records.read_bytes()[:-20])
    system = painter(rectangles, ("02",))
    again = summarise(run(rectangles, lambda: system, records, RunOptions(resume=True)))
    assert system.asked == ["11"]
    assert again.miou == whole.miou


def test_other_settings_do_not_resume_and_are_named(rectangles, painter, records):
    run(rectangles, lambda: painter(rectangles), records)
    with pytest.raises(ConfigError, match=r"begun with other settings: settings\.\w+ .* -> "):
        run(rectangles, lambda: painter(rectangles, ("01",)), records, RunOptions(resume=True))
    with pytest.raises(ConfigError, match='settings: void "ignore" -> "background"; resume with the same'):
        run(rectangles, lambda: painter(rectangles), records, RunOptions(resume=True, void="background"))
    with pytest.raises(ConfigError, match=r"other settings: notes \["):
        run(rectangles.subset(4), lambda: painter(rectangles), records, RunOptions(resume=True))


def test_other_photos_or_truth_under_the_same_names_do_not_resume(rectangles, records):
    run(rectangles, Bright, records)
    photo, mask = rectangles[3].image, rectangles[3].labels.path
    for path, other, what in ((photo, rectangles[4].image, "photo"), (mask, rectangles[4].labels.path, "truth")):
        before = path.read_bytes()
        path.write_bytes(other.read_bytes())
        with pytest.raises(
            ConfigError, match=rf'other images: {rectangles[3].id}\.{what} "\w+" -> "\w+"; put them back'
        ):
            run(rectangles, Bright, records, RunOptions(resume=True))
        path.write_bytes(before)
    run(rectangles, Bright, records, RunOptions(resume=True))


def test_labels_asked_for_at_resume_are_made(rectangles, painter, records, tmp_path):
    run(rectangles, lambda: painter(rectangles), records)
    system = painter(rectangles)
    options = RunOptions(resume=True, save_labels=tmp_path / "labels")
    first = run(rectangles, lambda: system, records, options)
    assert len(system.asked) == len(list((tmp_path / "labels").glob("*.png"))) == 12
    again = painter(rectangles)
    second = run(rectangles, lambda: again, records, options)
    assert again.asked == []
    assert len(read_records(records)[1]) == 12
    assert summarise(first).miou == summarise(second).miou
    (tmp_path / "labels" / f"{rectangles[2].id}.png").unlink()
    run(rectangles, lambda: again, records, options)
    assert again.asked == [rectangles[2].id]


def test_labels_of_a_run_with_other_settings_do_not_count_as_saved(rectangles, painter, records, tmp_path):
    run(
        rectangles,
        lambda: painter(rectangles, ("01",)),
        tmp_path / "other",
        RunOptions(save_labels=tmp_path / "labels"),
    )
    run(rectangles, lambda: painter(rectangles), records)
    system = painter(rectangles)
    run(rectangles, lambda: system, records, RunOptions(resume=True, save_labels=tmp_path / "labels"))
    assert len(system.asked) == 12


def test_labels_are_never_saved_over_the_truth_or_outside_their_folder(rectangles, painter, records, tmp_path):
    from dataclasses import replace

    system, masks = painter(rectangles), rectangles[0].labels.path.parent
    before = {path: path.read_bytes() for path in masks.iterdir()}
    with pytest.raises(OutputError, match="holds pictures of the data set"):
        run(rectangles, lambda: system, records, RunOptions(save_labels=masks))
    assert {path: path.read_bytes() for path in masks.iterdir()} == before
    outside = replace(rectangles, samples=(replace(rectangles[0], id="../x"),))
    with pytest.raises(OutputError, match=r"'\.\./x\.png' names no file below"):
        run(outside, lambda: system, records, RunOptions(save_labels=tmp_path / "labels"))
    assert system.asked == []
    assert not (tmp_path / "x.png").exists()


def test_ids_with_folders_get_folders(rectangles, records, tmp_path):
    from dataclasses import replace

    inside = replace(rectangles, samples=(replace(rectangles[0], id="a/x"), replace(rectangles[1], id="b/x")))
    run(inside, Bright, records, RunOptions(save_labels=tmp_path / "labels"))
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("x.png")) == ["labels/a/x.png", "labels/b/x.png"]


def test_two_runs_cannot_share_their_records(rectangles, records):
    def second(done, total, confusion):
        with pytest.raises(OutputError, match="another run is writing to"):
            run(rectangles, Bright, records, RunOptions(resume=True))
        raise InterruptError

    with pytest.raises(InterruptError):
        run(rectangles, Bright, records, progress=second)
    run(rectangles, Bright, records, RunOptions(resume=True))


@pytest.mark.parametrize("id", ["a\u2028b", "a\x85b", "caf\udce9", "a b,'\"c", ".x"])
def test_every_name_comes_back_from_the_records(rectangles, records, id):
    from dataclasses import replace

    odd = replace(rectangles, samples=(replace(rectangles[0], id=id), rectangles[1]))
    run(odd, Bright, records)
    assert [record.id for record in read_records(records)[1]] == [id, rectangles[1].id]
    assert all(byte < 128 for byte in records.read_bytes())
    assert len(run(odd, Bright, records, RunOptions(resume=True)).finished) == 2


def test_a_disk_that_fills_up_is_one_line_and_what_was_finished_is_kept(rectangles, records, monkeypatch):
    from pnp_ovss.evaluation.records import ImageRecord, RecordFile

    class Full:
        def write(self, data):
            return len(data) // 2

    with RecordFile(records, {"classes": 2}, resume=False) as file:
        file.append(ImageRecord("x", error="e"))
        monkeypatch.setattr(file, "_stream", Full())
        with pytest.raises(OutputError, match="what was finished is kept"):
            file.append(ImageRecord("y", error="e"))
    assert [record.id for record in read_records(records)[1]] == ["x"]


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), noise=st.binary(min_size=1, max_size=6))
def test_whatever_happened_to_the_records_there_is_no_traceback(rectangles, records, place, noise):
    records.unlink(missing_ok=True)
    run(rectangles.subset(2), Bright, records)
    data = records.read_bytes()
    place %= len(data)
    records.write_bytes(data[:place] + noise + data[place + len(noise) :])
    with suppress(PnPError):
        run(rectangles.subset(2), Bright, records, RunOptions(resume=True))


def test_other_weights_do_not_resume(rectangles, fake_system, records):
    import torch

    run(rectangles.subset(2), fake_system, records)

    def changed():
        system = fake_system()
        with torch.no_grad():
            system.segmenter.vlm.model.weight += 1
        return system

    with pytest.raises(ConfigError, match=r'settings\.weights "\w+" -> "\w+"'):
        run(rectangles.subset(2), changed, records, RunOptions(resume=True))


def test_without_resume_a_run_starts_again(rectangles, painter, records):
    system = painter(rectangles)
    run(rectangles, lambda: system, records)
    run(rectangles, lambda: system, records)
    assert len(system.asked) == 24


def test_records_that_are_none_are_refused(rectangles, painter, records):
    records.parent.mkdir(parents=True)
    records.write_text("hello\n")
    with pytest.raises(OutputError, match="holds no records of an evaluation"):
        run(rectangles, lambda: painter(rectangles), records, RunOptions(resume=True))
    records.write_text("")
    with pytest.raises(OutputError, match=r"\.jsonl is empty and holds no records"):
        read_records(records)
    with pytest.raises(OutputError, match="cannot read the records"):
        read_records(records.parent / "nothing.jsonl")
