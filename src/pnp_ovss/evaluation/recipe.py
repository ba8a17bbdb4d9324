"""Recipes (`recipes/NAME.toml`): all that a claim of the paper was made under, and in what a run differs from it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets.base import Dataset
from pnp_ovss.errors import ConfigError
from pnp_ovss.evaluation.metrics import Void
from pnp_ovss.evaluation.paper import PaperRow, read_tables, validation_images
from pnp_ovss.evaluation.run import RunOptions
from pnp_ovss.files import read_toml
from pnp_ovss.presets import ModelPreset, get_method, get_preset, resolve
from pnp_ovss.spec import SegmenterSpec
from pnp_ovss.words import counted

NO_NUMBER = ("precision", "output_px")
"""Settings that a recipe leaves open: the device's business."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Command, method and settings of one claim. What the user gives as well wins, and is named as a difference.

    table: the paper's, by its name in paper.toml. models: {preset: the paper's checkpoint and the size of its row};
    empty = any model, at its preset's size. stage: of `sensitivity`.
    """

    name: str
    title: str
    command: str
    table: str
    method: str | None = None
    void: str = "ignore"
    stage: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def apply(self, spec: SegmenterSpec, preset: ModelPreset) -> SegmenterSpec:
        """The segmenter that the recipe asks for, with what was given in the recipe's place."""
        size = self._entry(preset).get("size_px")
        sized = {} if size is None else {"size_px": size}
        return replace(spec, method=spec.method or self.method, settings={**self.settings, **sized, **spec.settings})

    def rows(self, preset: ModelPreset) -> tuple[PaperRow, ...]:
        """The paper's rows of this checkpoint, at every size that it prints."""
        checkpoint = self._entry(preset).get("checkpoint")
        return read_tables()[self.table].find(ours=True, checkpoint=checkpoint) if checkpoint else ()

    def differences(
        self, spec: SegmenterSpec, preset: ModelPreset, data: Dataset, options: RunOptions, stage: str | None = None
    ) -> list[str]:
        """In what a run with this spec differs from the recipe, a few words each."""
        return [
            *self._model(preset),
            *self._config(spec, preset),
            *([] if stage == self.stage else [f"stage {stage}, not {self.stage}"]),
            *([] if options.void == self.void else [f"void {options.void}, not {self.void}"]),
            *(["all synonyms prompted, not each class's first name"] if options.synonyms else []),
            *self._data(preset, data),
        ]

    def _model(self, preset: ModelPreset) -> list[str]:
        if not self.models or self._entry(preset):
            return []
        return [f"model {preset.name}; the paper's are {', '.join(self.models)}"]

    def _config(self, spec: SegmenterSpec, preset: ModelPreset) -> list[str]:
        """Settings of another value than the recipe's; layer, head and the like are the preset's in both."""
        plain = SegmenterSpec(model=spec.model)
        asked = self.apply(plain, preset)
        wanted = resolve(preset, asked.method, **asked.settings).to_dict()
        found = resolve(preset, spec.method, **spec.settings)
        printed = {str(found.size_px)} & {row.size for row in self.rows(preset)}
        same_refiner = found.refine == wanted["refine"]
        left = {*NO_NUMBER, *(("size_px",) if printed else ()), *(() if same_refiner else ("refine_options",))}
        return [
            f"{name} {value}, not {wanted[name]}"
            for name, value in found.to_dict().items()
            if value != wanted[name] and name not in left
        ]

    def _data(self, preset: ModelPreset, data: Dataset) -> list[str]:
        name, all_images = data.name, validation_images(data.name)
        if name not in read_tables()[self.table].columns:
            return [f"{name} is no column of the paper's {self._table()}"]
        rows = self.rows(preset)
        missing = [f"the paper has no figure for {name} here"] if rows and name not in rows[0].values else []
        return missing + ([] if len(data) == all_images else [f"{counted(len(data), 'image')}, not {all_images}"])

    def summary(self, spec: SegmenterSpec, preset: ModelPreset, options: RunOptions, dataset: str) -> str:
        """One line: recipe, policy, names in the prompt, size, and the paper's figures of this checkpoint."""
        config = resolve(preset, spec.method, **spec.settings)
        names = "all names" if config.prompted == "all" else "the kept names"
        return (
            f"recipe {self.name}: {self.title}; {preset.name}, method {spec.method or 'preset'}, policy {config.policy}, "
            f"{names} in the prompt, {config.size_px} px, void {options.void}; {self._figures(preset, dataset)}"
        )

    def _figures(self, preset: ModelPreset, dataset: str) -> str:
        rows = [row for row in self.rows(preset) if dataset in row.values and "stage" not in row.keys]
        if self.command != "evaluate" or not rows:
            return f"the paper: {self._table()}" if self.models else "the paper has no open figure of its own"
        figures = ", ".join(f"{row.values[dataset]} at {row.size} px" for row in rows)
        return f"the paper's {self._table()} ({rows[0].checkpoint}): {figures}"

    def _table(self) -> str:
        return self.table.replace("table", "Table ")

    def _entry(self, preset: ModelPreset) -> Mapping[str, Any]:
        """What the recipe says of a model: by its preset's name, or of a converted folder by the preset copied there."""
        for name, entry in self.models.items():
            if name == preset.name or (preset.title and preset.title == get_preset(name).title):
                return entry
        return {}


def list_recipes() -> list[str]:
    """The names of the built-in recipes, in alphabetical order."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def get_recipe(name: str, command: str) -> Recipe:
    """A recipe for this command, by name or from a `.toml` file. Raises ConfigError for any other."""
    path = Path(name)
    if path.suffix == ".toml":
        recipe = _parse(path.stem, read_toml(path), name)
    elif name in list_recipes():
        recipe = _parse(name, tomllib.loads((_folder() / f"{name}.toml").read_text("utf-8")), f"recipes/{name}.toml")
    else:
        raise ConfigError(f"unknown recipe '{name}'; choose from {', '.join(list_recipes())} or give a .toml file")
    if recipe.command != command:
        raise ConfigError(f"recipe '{name}' is for `pnp-ovss {recipe.command}`, not `{command}`")
    return recipe


def _parse(name: str, values: dict[str, Any], where: str) -> Recipe:
    known = {f.name for f in fields(Recipe)} - {"name"}
    unknown, missing = sorted(set(values) - known), sorted({"title", "command", "table"} - set(values))
    if unknown or missing:
        problem = f"unknown keys {', '.join(unknown)}" if unknown else f"no key {missing[0]}"
        raise ConfigError(f"{where}: {problem}; a recipe has {', '.join(sorted(known))}")
    _check_kinds(values, where)
    recipe = Recipe(name=name, **values)
    try:
        SegmenterConfig().replace(**recipe.settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if recipe.void not in get_args(Void):
        raise ConfigError(f"{where}: void = '{recipe.void}'; choose from {', '.join(get_args(Void))}")
    if recipe.table not in read_tables():
        raise ConfigError(f"{where}: table = '{recipe.table}'; choose from {', '.join(read_tables())}")
    if recipe.method is not None:
        get_method(recipe.method)
    return recipe


def _check_kinds(values: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for a value that is no text, or no table where one is wanted."""
    for key, value in values.items():
        wanted = dict if key in ("settings", "models") else str
        if not isinstance(value, wanted):
            raise ConfigError(f"{where}: {key} = {value!r} must be {'a table' if wanted is dict else 'a text'}")
    for name, entry in values.get("models", {}).items():
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: models.{name} = {entry!r} must be a table: checkpoint = '...', size_px = ...")


def _folder() -> Any:
    return files("pnp_ovss.evaluation") / "recipes"
