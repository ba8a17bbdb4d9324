"""The search (§3.4, supplement 9): an optuna study over a grid of settings, resumable, and never a point twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pnp_ovss.changes import changes, summary
from pnp_ovss.errors import ConfigError
from pnp_ovss.extras import need
from pnp_ovss.settings import check_seed
from pnp_ovss.tuning.journal import damage_told, open_journal
from pnp_ovss.tuning.objective import Outcome

if TYPE_CHECKING:
    import optuna

Sampler = Literal["random", "tpe", "grid"]
Space = Mapping[str, Sequence[Any]]
"""Setting -> its values, for example {"layer": (1, 2), "head": (1, 2, 3), "threshold": (0.05, 0.15)}."""
Point = dict[str, Any]
Evaluate = Callable[[Point], Outcome]

THRESHOLDS = (0.05, 0.15, 0.25, 0.35, 0.45)
"""Table 2: 0.05 to 0.5 by 0.1."""
BLURS = (0.01, 0.03, 0.05, 0.07, 0.09, 0.11)
"""Table 2's range of the Gaussian's standard deviation, as shares of the photo's longer side."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How the space is searched.

    sampler: `random` draws without repetition (the paper's), `tpe` learns from what it has seen, `grid` visits all.
    shards: parts of the space that are searched one by one or, by `only_shard` (from 1), in as many processes on
    one journal file. trials: in each shard (the paper: 3 x 34).
    """

    sampler: str = "random"
    trials: int = 34
    shards: int = 3
    seed: int = 0
    only_shard: int | None = None

    def __post_init__(self) -> None:
        if self.sampler not in get_args(Sampler):
            raise ConfigError(f"unknown sampler '{self.sampler}'; choose from {', '.join(get_args(Sampler))}")
        check_seed(self.seed)
        if self.trials < 1 or self.shards < 1:
            raise ConfigError(f"trials = {self.trials} and shards = {self.shards} must be at least 1")
        if self.only_shard is not None and not 1 <= self.only_shard <= self.shards:
            raise ConfigError(f"shard {self.only_shard} does not exist; there are 1-{self.shards}")


@dataclass(frozen=True)
class Trial:
    """A point that was tried, its outcome and the shard that it belongs to (from 1)."""

    point: Point
    outcome: Outcome
    shard: int


def grid(space: Space) -> list[Point]:
    """All points, the last setting changing fastest.

    >>> grid({"layer": (1, 2), "head": (5, 6)})[1]
    {'layer': 1, 'head': 6}
    """
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]


def shards_of(space: Space, plan: SearchPlan) -> list[list[Point]]:
    """The space partitioned: each point in exactly one shard, in the seed's order (for `grid` in grid order)."""
    points = grid(space)
    if plan.sampler != "grid":
        random.Random(plan.seed).shuffle(points)
    return [points[i :: plan.shards] for i in range(plan.shards)]


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The highest reward; between equal ones the higher margin, then the one tried first."""
    return max(trials, key=lambda t: (t.outcome.reward, t.outcome.margin))


class Search:
    """A search of one space, kept in a journal file.

    basis: what the trials depend on besides the point (model, images,
    scorer, ...), as plain JSON values; a journal of another one is refused by name. journal: None keeps all in memory.
    """

    def __init__(
        self,
        space: Space,
        plan: SearchPlan,
        *,
        journal: Path | None = None,
        basis: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = space
        self.plan = plan
        self.journal = journal
        searched = {"space": {name: list(values) for name, values in space.items()}}
        self.basis = {**(basis or {}), **searched, "sampler": plan.sampler, "seed": plan.seed}
        self.shards = shards_of(space, plan)
        self._optuna = _import_optuna()
        self._storage = open_journal(self._optuna, journal) if journal else self._optuna.storages.InMemoryStorage()

    def run(self, evaluate: Evaluate, *, resume: bool = False, report: Callable[[Trial], None] | None = None) -> None:
        """Try the planned points that have not been tried; `report` hears of each.

        Raises ConfigError when the journal holds trials and `resume` is not set, or those of another search, and
        OutputError when it is damaged.
        """
        for shard in self._chosen():
            study = self._open(shard, resume)
            for _ in range(self._goal(shard) - len(_finished(study))):
                trial = self._ask(study, shard)
                outcome = evaluate(dict(trial.params))
                for key, value in asdict(outcome).items():
                    trial.set_user_attr(key, value)
                study.tell(trial, outcome.reward)
                if report:
                    report(Trial(dict(trial.params), outcome, shard))

    def trials(self) -> list[Trial]:
        """All finished trials of all shards, in the order in which each shard was searched."""
        found = []
        known = set(self._optuna.get_all_study_names(self._storage))
        for shard in range(1, self.plan.shards + 1):
            if self._study_name(shard) in known:
                study = self._optuna.load_study(study_name=self._study_name(shard), storage=self._storage)
                with damage_told(self.journal):
                    found += [Trial(dict(t.params), Outcome(**t.user_attrs), shard) for t in _finished(study)]
        return found

    def planned(self) -> int:
        """How many trials all chosen shards will have."""
        return sum(self._goal(shard) for shard in self._chosen())

    def _chosen(self) -> list[int]:
        return [self.plan.only_shard] if self.plan.only_shard else list(range(1, self.plan.shards + 1))

    def _goal(self, shard: int) -> int:
        size = len(self.shards[shard - 1])
        return size if self.plan.sampler == "grid" else min(self.plan.trials, size)

    def _study_name(self, shard: int) -> str:
        return f"tune-{shard}-of-{self.plan.shards}"

    def _open(self, shard: int, resume: bool) -> optuna.Study:
        """The shard's study; trials that an interruption left unfinished are closed and will be tried again."""
        study = self._optuna.create_study(
            storage=self._storage, study_name=self._study_name(shard), direction="maximize", load_if_exists=True
        )
        self._check_basis(study)
        if study.trials and not resume:
            raise ConfigError(
                f"the journal holds {len(_finished(study))} finished trials of {study.study_name}; "
                "add --resume to go on with them, or choose another --out"
            )
        study.set_user_attr("basis", self.basis)
        for trial in study.trials:
            if not trial.state.is_finished():
                study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL, skip_if_finished=True)
        return study

    def _check_basis(self, study: optuna.Study) -> None:
        stored = study.user_attrs.get("basis", self.basis if not study.trials else {})
        if found := changes(stored, self.basis):
            raise ConfigError(
                f"the journal {self.journal} belongs to another search: {summary(found)}; search under the same "
                "settings, or choose another --out"
            )

    def _ask(self, study: optuna.Study, shard: int) -> optuna.Trial:
        """The next untried point as a trial. It depends on the finished trials alone, so that a resumed search goes
        the way an uninterrupted one would: a sampler with one seed would start its draws anew.
        """
        done = [trial.params for trial in _finished(study)]
        left = [point for point in self.shards[shard - 1] if point not in done]
        categories = self._optuna.distributions.CategoricalDistribution
        choices = {name: categories(tuple(values)) for name, values in self.space.items()}
        if self.plan.sampler == "tpe":
            study.sampler = self._optuna.samplers.TPESampler(seed=(self.plan.seed + len(done)) % 2**32)
            trial = study.ask(choices)
            if trial.params in left:
                return trial
            study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        study.enqueue_trial(left[0])
        return study.ask(choices)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


def _import_optuna() -> Any:
    need("optuna", "tuning", "tune")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
