"""The search: a partition, no point twice, and an interruption that changes nothing."""

import pytest

from pnp_ovss.errors import ConfigError
from pnp_ovss.tuning.objective import Outcome
from pnp_ovss.tuning.search import Search, SearchPlan, best_trial, grid, shards_of

SPACE = {"layer": (1, 2, 3), "head": (1, 2, 3, 4), "threshold": (0.05, 0.15, 0.25)}


class Objective:
    """Known everywhere, with its maximum at layer 2, head 3, T 0.15; counts and records its calls."""

    def __init__(self, stop_after=None):
        self.points = []
        self.stop_after = stop_after

    def __call__(self, point):
        if len(self.points) == self.stop_after:
            raise KeyboardInterrupt
        self.points.append(tuple(point.values()))
        distance = abs(point["layer"] - 2) + abs(point["head"] - 3) + 10 * abs(point["threshold"] - 0.15)
        return Outcome(reward=-distance, total=0.0, margin=0.0, area=0.5, empty=0.0)


def test_shards_partition_the_space():
    shards = shards_of(SPACE, SearchPlan(shards=5, seed=3))
    together = [tuple(point.values()) for shard in shards for point in shard]

    assert sorted(together) == sorted(tuple(point.values()) for point in grid(SPACE))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert shards != shards_of(SPACE, SearchPlan(shards=5, seed=4))
    assert shards == shards_of(SPACE, SearchPlan(shards=5, seed=3))


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_no_point_is_tried_twice_and_the_count_is_kept(sampler):
    objective = Objective()
    search = Search(SPACE, SearchPlan(sampler=sampler, trials=10, shards=3))

    search.run(objective)

    assert len(objective.points) == len(set(objective.points)) == search.planned() == (36 if sampler == "grid" else 30)


def test_grid_finds_the_maximum():
    search = Search(SPACE, SearchPlan(sampler="grid"))
    search.run(Objective())

    assert best_trial(search.trials()).point == {"layer": 2, "head": 3, "threshold": 0.15}


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
@pytest.mark.parametrize("stop_after", [1, 9])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, sampler, stop_after):
    plan = SearchPlan(sampler=sampler, trials=8, shards=2, seed=1)
    whole = Search(SPACE, plan)
    whole.run(Objective())

    with pytest.raises(KeyboardInterrupt):
        Search(SPACE, plan, journal=tmp_path / "journal").run(Objective(stop_after))
    again = Objective()
    resumed = Search(SPACE, plan, journal=tmp_path / "journal")
    resumed.run(again, resume=True)

    assert resumed.trials() == whole.trials()
    assert len(again.points) == whole.planned() - stop_after


def test_resuming_a_finished_search_tries_nothing(tmp_path):
    plan = SearchPlan(trials=4, shards=1)
    Search(SPACE, plan, journal=tmp_path / "journal").run(Objective())

    Search(SPACE, plan, journal=tmp_path / "journal").run(Objective(stop_after=0), resume=True)


def test_shards_in_processes_of_their_own_equal_one_after_the_other(tmp_path):
    plan = SearchPlan(trials=5, shards=3)
    together = Search(SPACE, plan)
    together.run(Objective())

    for shard in (3, 1, 2):
        alone = SearchPlan(trials=5, shards=3, only_shard=shard)
        Search(SPACE, alone, journal=tmp_path / "journal").run(Objective())

    assert Search(SPACE, plan, journal=tmp_path / "journal").trials() == together.trials()


def test_a_journal_is_not_overwritten_silently(tmp_path):
    Search(SPACE, SearchPlan(trials=2), journal=tmp_path / "journal").run(Objective())

    with pytest.raises(ConfigError, match="--resume"):
        Search(SPACE, SearchPlan(trials=2), journal=tmp_path / "journal").run(Objective())


def test_a_journal_of_another_search_is_refused_with_what_changed(tmp_path):
    journal = tmp_path / "journal"
    Search(SPACE, SearchPlan(), journal=journal, basis={"config": {"drops": 4}, "reward": "paper"}).run(Objective())

    changed = Search(SPACE, SearchPlan(), journal=journal, basis={"config": {"drops": 2}, "reward": "paper"})
    with pytest.raises(ConfigError) as refusal:
        changed.run(Objective(), resume=True)
    assert "belongs to another search: config.drops 4 -> 2; search" in str(refusal.value)
    with pytest.raises(ConfigError, match="seed 0 -> 7"):
        Search(SPACE, SearchPlan(seed=7), journal=journal).run(Objective(), resume=True)


def test_equal_rewards_go_to_the_higher_margin_then_the_first():
    from pnp_ovss.tuning.search import Trial

    def trial(layer, margin):
        return Trial({"layer": layer}, Outcome(0.5, 1.0, margin, 0.1, 0.0), 1)

    assert best_trial([trial(1, 0.1), trial(2, 0.3), trial(3, 0.3)]).point == {"layer": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sampler": "best"}, "choose from random"), ({"trials": 0}, "at least 1"), ({"only_shard": 4}, "there are 1-3")],
)
def test_bad_plans_say_what_is_possible(change, message):
    with pytest.raises(ConfigError, match=message):
        SearchPlan(**change)
