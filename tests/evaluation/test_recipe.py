"""Recipes: what each claim of the paper was made under, and that a run which differs says so."""

import dataclasses

import pytest

from pnp_ovss.errors import ConfigError
from pnp_ovss.evaluation.paper import read_tables
from pnp_ovss.evaluation.recipe import get_recipe, list_recipes
from pnp_ovss.evaluation.report import read_report, read_reports
from pnp_ovss.evaluation.run import RunOptions
from pnp_ovss.presets import ModelPreset, get_preset, resolve
from pnp_ovss.spec import SegmenterSpec
from tests.commands import caller

COMMANDS = {"table3": "evaluate", "table5": "ablate", "table6": "sensitivity", "table8": "evaluate", "open": "evaluate"}
BLIP = SegmenterSpec(model="blip-large-flickr")
WHOLE = "title = 'a'\ncommand = 'evaluate'\ntable = 'table3'\n"


class Data:
    """As much of a data set as a recipe looks at."""

    def __init__(self, name="voc", images=1449):
        self.name, self.images = name, images

    def __len__(self):
        return self.images


def recipe_of(name):
    return get_recipe(name, COMMANDS[name])


def differences(name, spec, data=None, *, model="blip-large-flickr", void="background", **more):
    recipe, preset = recipe_of(name), get_preset(model)
    options = RunOptions(void, more.pop("synonyms", False))
    return recipe.differences(recipe.apply(spec, preset), preset, data or Data(), options, more.get("stage"))


def test_every_recipe_has_a_row_of_the_paper_for_each_of_its_models_at_its_size():
    assert set(list_recipes()) == set(COMMANDS)
    for name in COMMANDS:
        recipe = recipe_of(name)
        for model, entry in recipe.models.items():
            rows = recipe.rows(get_preset(model))
            assert str(entry["size_px"]) in {row.size for row in rows}, (name, model)
            assert {row.policy for row in rows} == {recipe.settings["policy"]}


@pytest.mark.parametrize(
    ("name", "model", "size"),
    [
        ("table3", "blip-large-flickr", 768),
        ("table3", "blip-large-coco", 768),
        ("table3", "bridgetower-large-itm-mlm-itc", 770),
        ("table5", "blip-large-flickr", 768),
        ("table6", "blip-large-flickr", 336),
        ("table8", "albef", 336),
        ("table8", "mplug-large", 336),
    ],
)
def test_the_authors_protocol(name, model, size):
    """The ground truth's classes win, all names stand in the prompt, void is background; layer and head are Table 2's."""
    recipe, preset = recipe_of(name), get_preset(model)
    spec = recipe.apply(SegmenterSpec(model=model), preset)
    config = resolve(preset, spec.method, **spec.settings)

    assert (config.policy, config.prompted, config.size_px, recipe.void) == ("oracle", "all", size, "background")
    assert (config.accumulate, config.normalise) == ("per_pass_minmax", "per_class")
    assert (config.threshold, config.drops, config.first_pass_weight, config.blur) == (0.15, 4, 2.0, 0.05)
    assert (config.completion, config.competition, config.bank) == ("none", "overlay", "")
    assert (config.layer, config.head) == (preset.settings["layer"], preset.settings["head"])
    assert recipe.stage == ("full" if name == "table6" else None)


def test_a_run_as_the_recipe_says_has_no_difference_at_any_size_that_the_paper_prints():
    assert differences("table3", BLIP) == []
    assert differences("table3", dataclasses.replace(BLIP, settings={"size_px": 336})) == []
    assert differences("table5", BLIP, Data("context", 5104)) == []
    assert differences("table6", BLIP, Data("coco-stuff", 5000), stage="full") == []
    assert differences("open", BLIP, void="ignore") == []
    assert differences("open", SegmenterSpec(model="vilt-coco"), model="vilt-coco", void="ignore") == []


@pytest.mark.parametrize("policy", ["oracle", "file"])
def test_an_open_run_that_is_told_the_classes_is_none(policy):
    told = dataclasses.replace(BLIP, settings={"policy": policy})
    assert differences("open", told, void="ignore") == [f"policy {policy}, not itm"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"spec": {"settings": {"size_px": 384}}}, "size_px 384, not 768"),
        ({"spec": {"settings": {"policy": "itm"}}}, "policy itm, not oracle"),
        ({"spec": {"settings": {"prompted": "kept"}}}, "prompted kept, not all"),
        ({"spec": {"settings": {"layer": 7}}}, "layer 7, not 8"),
        ({"spec": {"settings": {"refine": "pamr"}}}, "refine pamr, not densecrf"),
        ({"spec": {"method": "paper"}}, "first_pass_weight 1.0, not 2.0"),
        ({"void": "ignore"}, "void ignore, not background"),
        ({"synonyms": True}, "all synonyms prompted, not each class's first name"),
        ({"data": Data("voc", 50)}, "50 images, not 1449"),
        ({"data": Data("camvid", 5)}, "camvid is no column of the paper's Table 3"),
        ({"model": "pocket"}, "model pocket; the paper's are blip-large-flickr, blip-large-coco, bridgetower-large"),
        ({"stage": "gradcam"}, "stage gradcam, not None"),
    ],
)
def test_each_difference_is_named(given, said):
    spec = dataclasses.replace(BLIP, **given.pop("spec", {}))
    found = differences("table3", spec, **given)
    assert any(line.startswith(said) for line in found), found


def test_a_method_of_ones_own_keeps_the_protocol():
    """The paper's text by the authors' protocol: only settings of the method differ."""
    found = differences("table3", dataclasses.replace(BLIP, method="paper"))
    assert {line.split()[0] for line in found} == {"drop_score", "resize", "first_pass_weight", "refine_options"}


def test_a_converted_folder_is_known_by_its_preset(tmp_path):
    folder = dataclasses.replace(get_preset("albef"), name="my-albef", path=str(tmp_path))
    assert recipe_of("table8").rows(folder)[0].checkpoint == "ALBEF"
    assert recipe_of("table8").rows(ModelPreset(name="other", family="albef")) == ()


def test_the_summary_has_the_papers_figures():
    recipe, preset = recipe_of("table3"), get_preset("blip-large-flickr")
    text = recipe.summary(recipe.apply(BLIP, preset), preset, RunOptions("background"), "voc")
    assert "policy oracle, all names in the prompt, 768 px, void background" in text
    wanted = read_tables()["table3"].find(ours=True, checkpoint="BLIP-Flickr")
    assert text.endswith(", ".join(f"{row.values['voc']} at {row.size} px" for row in wanted))


@pytest.mark.parametrize(
    ("name", "command", "message"),
    [
        ("table5", "evaluate", "recipe 'table5' is for `pnp-ovss ablate`, not `evaluate`"),
        ("table9", "evaluate", "unknown recipe 'table9'; choose from open, table3"),
    ],
)
def test_other_recipes_are_refused(name, command, message):
    with pytest.raises(ConfigError, match=message):
        get_recipe(name, command)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 'a'\ncommand = 'evaluate'\ntable = 'table3'\ncolour = 1", "unknown keys colour"),
        ("title = 'a'\ncommand = 'evaluate'", "no key table"),
        (f"{WHOLE}settings = 3", r"mine\.toml: settings = 3 must be a table"),
        (f"{WHOLE}void = ['ignore']", r"mine\.toml: void = \['ignore'\] must be a text"),
        (f"{WHOLE}void = 'white'", r"mine\.toml: void = 'white'; choose from ignore, background"),
        (f"{WHOLE}[settings]\nblur = -1", r"mine\.toml: blur = -1"),
        (f"{WHOLE}models = ['pocket']", r"mine\.toml: models = \['pocket'\] must be a table"),
        (f"{WHOLE}[models]\npocket = 'BLIP-COCO'", r"mine\.toml: models\.pocket = 'BLIP-COCO' must be a table"),
        ("title = 'a'\ncommand = 'evaluate'\ntable = ['table3']", r"table = \['table3'\] must be a text"),
        ("title = 'a'\ncommand = 'evaluate'\ntable = 'table9'", "table = 'table9'; choose from table1"),
        ("title = 'a'\ncommand = 'evaluate'\ntable = 'table3'\n[settings]\ndrips = 1", "unknown setting 'drips'"),
    ],
)
def test_a_recipe_of_ones_own_is_checked(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        get_recipe(str(path), "evaluate")


@pytest.fixture
def call(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    return caller(monkeypatch, capsys)


@pytest.fixture
def root(rectangles):
    return rectangles[0].image.parents[1]


def test_evaluate_follows_a_recipe_and_says_where_not(call, root, tmp_path):
    out = tmp_path / "r.json"
    code, screen, errors = call("evaluate", "folder", root, "--recipe", "table3", "--examples", 0, "--out", out)

    assert code == 0
    assert (
        "recipe table3: Table 3 by the authors' protocol; fake, method authors-cvpr, policy oracle, all names" in screen
    )
    assert "differs from recipe table3: rectangles is no column of the paper's Table 3" in errors
    report = read_report(out)
    config = report.config["config"]
    assert (report.void, config["prompted"], config["policy"]) == ("background", "all", "oracle")
    assert report.recipe[0].startswith("recipe table3: ")
    assert "differs from recipe table3: model" in out.with_suffix(".md").read_text()


def test_an_oracle_alone_is_not_called_the_papers_protocol(call, root, tmp_path):
    said = "easier than the paper's own protocol"
    arguments = ("evaluate", "folder", root, "--policy", "oracle", "--examples", 0)
    assert said in call(*arguments, "--out", tmp_path / "a.json")[1]
    assert said not in call(*arguments, "--set", "prompted=all", "--out", tmp_path / "b.json")[1]
    assert said not in call("evaluate", "folder", root, "--examples", 0, "--out", tmp_path / "c.json")[1]


@pytest.mark.parametrize(("command", "name"), [("ablate", "table5"), ("sensitivity", "table6")])
def test_ablate_and_sensitivity_follow_theirs(call, root, tmp_path, command, name):
    out = tmp_path / "r.json"
    code, screen, errors = call(command, "folder", root, "--limit", 2, "--recipe", name, "--out", out)

    assert code == 0
    assert f"recipe {name}: " in screen
    assert f"differs from recipe {name}: model" in errors
    assert ("stage full: the whole method" in screen) == (name == "table6")
    report = next(iter(read_reports(out).values()))
    assert (report.void, report.config["config"]["prompted"]) == ("background", "all")
    assert report.recipe


def test_a_report_of_an_earlier_version_has_no_recipe(tmp_path, call, root):
    import json

    out = tmp_path / "r.json"
    call("evaluate", "folder", root, "--examples", 0, "--out", out)
    values = json.loads(out.read_text())
    del values["recipe"]
    out.write_text(json.dumps(values))
    assert read_report(out).recipe == ()
