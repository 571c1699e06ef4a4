# ruff: noqa: E501 - a table of overrides and messages reads better in long lines
"""conf/, params.yaml and the typed configuration say the same, and wrong values are explained."""

import shlex
from dataclasses import fields, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from thawline.config.composition import (
    compose,
    differences,
    flatten,
    load_lock,
    located,
    require_watched,
    require_whole,
    to_config,
    watch,
    watch_reward,
)
from thawline.config.errors import ConfigError
from thawline.config.recipe.contenders import contender_of, of_each
from thawline.config.recipe.methods import MethodFields
from thawline.config.sections import Config, Contender, DataSetName, Start
from thawline.config.supervision import is_supervised

ROOT = Path(__file__).resolve().parents[2]
GROUPS = sorted(path for path in (ROOT / "conf").iterdir() if path.is_dir())
PRESETS = list(zip_longest(*(sorted(group.glob("*.yaml")) for group in GROUPS)))
"""One preset of each group at a time, as composing all of them takes no longer than composing one."""


MAKING = ("target.root", "source.", "+", "finetun.", "finetune.hed_lr", "search.space.choices")
"""How names begin that Hydra has to hear of: what is watched follows from them, or they are none."""


@cache
def composed(*presets: str) -> DictConfig:
    return compose(ROOT, list(presets))


def config_of(*overrides: str) -> Config:
    """What conf/ comes to with presets and values. Hydra composes presets, and values that others are made of."""
    groups = tuple(f"{group.name}=" for group in GROUPS)
    presets = [each for each in overrides if each.startswith((*groups, *MAKING))]
    values = [each for each in overrides if each not in presets]
    return to_config(OmegaConf.merge(composed(*presets), OmegaConf.from_dotlist(values)))


def typed(*overrides: str) -> Config:
    """What conf/ comes to with these, as Hydra reads them."""
    return to_config(compose(ROOT, list(overrides)))


@pytest.mark.parametrize("presets", PRESETS, ids=lambda row: " ".join(path.stem for path in row if path))
def test_every_preset_composes_and_is_valid(presets: tuple[Path | None, ...]) -> None:
    files = [path for path in presets if path]
    roots = [f"{path.parent.name}.root=x" for path in files if "root: ???" in path.read_text()]
    assert isinstance(config_of(*(f"{path.parent.name}={path.stem}" for path in files), *roots), Config)


def test_every_field_of_the_dataclasses_has_a_value_in_conf() -> None:
    declared, given = set(flatten(OmegaConf.structured(Config))), set(flatten(composed()))
    assert given <= declared
    # what belongs to one method may have its value in that method's preset
    assert declared - given <= {f"finetune.{each.name}" for each in fields(MethodFields)}


def test_nested_settings_are_named_by_their_path() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": None}}, "e": {}}) == {"a.b": 1, "a.c.d": None, "e": {}}
    assert flatten({}) == {}


def test_differences_name_the_field_and_both_values() -> None:
    lock = OmegaConf.create({"finetune": {"epochs": 3}, "seed": 0})
    assert differences(lock, OmegaConf.create({"finetune": {"epochs": 4}, "seed": 0})) == [
        "finetune.epochs: params.yaml has 3, conf/ has 4"
    ]


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("finetune:\n  body_lr: 1e-3\n")
    assert load_lock(tmp_path).finetune.body_lr == 1e-3


def test_a_missing_lock_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="python -m thawline.config --write"):
        load_lock(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("seed: 0\n<<<<<<< HEAD\n", "cannot be read: "), ("- seed\n", "has no settings by their names")],
)
def test_a_damaged_lock_says_how_to_write_it_anew(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"params\.yaml {said}(?s:.*)python -m thawline\.config --write"):
        load_lock(tmp_path)


def test_a_value_that_a_lock_leaves_open_is_named(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("seed: 0", "seed: ???", 1))
    with pytest.raises(ConfigError, match=r"params\.yaml: seed = \?\?\? is no value\.\n  set it, or write"):
        require_whole(load_lock(tmp_path), tmp_path)


def test_a_lock_that_is_not_utf_8_says_how_to_write_it_anew(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("title: größe".encode("latin-1"))
    with pytest.raises(
        ConfigError, match=r"params\.yaml is not UTF-8(?s:.*)python -m thawline\.config --write"
    ):
        load_lock(tmp_path)


def test_presets_change_what_their_name_says() -> None:
    assert config_of("finetune=from_scratch").finetune.start is Start.random
    assert config_of("finetune=linear_probe").finetune.depth == "all"
    assert config_of("search=off").search.enabled is False
    assert config_of("target=image_folder", "target.root=2024").target.dataset is DataSetName.image_folder


def test_published_weights_are_not_compared_with_training_from_scratch_unless_asked() -> None:
    names = [Contender.finetuned, Contender.linear_probe]
    assert config_of().contenders == [*names, Contender.from_scratch]
    assert config_of("source=weights").contenders == names
    asked = "contenders=[from_scratch,finetuned]"
    assert config_of("source=weights", asked).contenders == [Contender.from_scratch, Contender.finetuned]


def test_a_configuration_of_each_contender_is_the_same_but_for_the_others() -> None:
    whole = config_of()
    each = of_each(whole)
    assert [contender_of(one) for one in each] == whole.contenders
    assert all(replace(one, contenders=whole.contenders) == whole for one in each)


@pytest.mark.parametrize("depth", ["0", "3", "0.5", "layer2", "all"])
def test_depth_is_a_count_a_fraction_or_a_name(depth: str) -> None:
    assert str(config_of(f"finetune.depth={depth}").finetune.depth) == depth


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune.hed_lr=1e-3", r"finetune\.hed_lr = '1e-3': there is no such setting\.\n  nearest: finetune\.head_lr"),
        ("finetun.epochs=3", r"finetun\.epochs = '3': there is no such setting\.\n  nearest: finetune"),
        ("finetune=ful", r"finetune = 'ful': there is no such preset\.\n  nearest: full\n  allowed: .*from_scratch"),
        ("finetune.epochs=many", r"finetune\.epochs = 'many' is not allowed\.\n  allowed: a whole number"),
        ("finetune.epochs=0", r"finetune\.epochs = 0 is not allowed\.\n  allowed: greater than 0"),
        ("finetune.optimizer=adam", r"finetune\.optimizer = 'adam' is not allowed\.\n  nearest: adamw"),
        ("target.dataset=digit", r"target\.dataset = 'digit' is not allowed\.\n  nearest: digits\n  allowed: cifar10, .*table"),
        ("finetune.depth=1.5", r"finetune\.depth = 1\.5 is not allowed.*strictly between 0 and 1"),
        ("finetune.depth=-1", r"finetune\.depth = -1 is not allowed"),
        ("finetune.warmup=1", r"finetune\.warmup = 1\.0 is not allowed"),
        ("search.space.head_lr.high=1e-9", r"head_lr\.high = 1e-09 is not allowed.*greater than low"),
        ("input.channels=2", r"input\.channels = 2 is not allowed.*1 \(gray\) or 3"),
        ("input.size=null", r"input\.size = None is not allowed"),
        ("target=image_folder", r"target\.root = .* is not allowed.*a folder"),
        ("finetune.body_lr=null", r"finetune\.head_lr = None is not allowed"),
        ("source.weights=DEFAULT", r"source\.weights = 'DEFAULT' is not allowed"),
        ("model.architecture=resnt18", r"model\.architecture = 'resnt18' is not allowed.*resnet18"),
        ("trainer.devices=0", r"trainer\.devices = 0 is not allowed"),
        ("finetune.layer_decay=1.1", r"finetune\.layer_decay = 1\.1 is not allowed.*at most 1"),
        ("finetune.wise_ft=0", r"finetune\.wise_ft = 0\.0 is not allowed.*greater than 0"),
        ("finetune.method=lroa", r"finetune\.method = 'lroa' is not allowed.*lora"),
        ("finetune.ema=1", r"finetune\.ema = 1\.0 is not allowed.*below 1"),
        ("finetune.soup=0", r"finetune\.soup = 0 is not allowed"),
        ("search.sampler=tpee", r"search\.sampler = 'tpee' is not allowed\.\n  nearest: tpe"),
        ("+search.space.choices.weight_deca=[0.0]", r"search\.space\.choices\.weight_deca = \[0\.0\] is not allowed.*nearest: weight_decay"),
        ("search.space.choices.weight_decay=[0.0]", r"search\.space\.choices has no such entry yet.*\+search\.space\.choices\.weight_decay=\[0\.0\]"),
        ("search.objective=accuracy_and_cost", r"search\.pruner = 'median' is not allowed.*none, because objective"),
        ("finetune.augmentation=mirror", r"finetune\.augmentation = 'mirror' is not allowed.*because target\.mirror=false"),
        ("seed=-1", r"seed = -1 is not allowed"),
        ("contenders=[]", r"contenders = \[\] is not allowed.*some of finetuned, linear_probe, from_scratch, each once"),
        ("contenders=[finetuned,finetuned]", r"contenders = \['finetuned', 'finetuned'\] is not allowed"),
        ("contenders=[finetned]", r"contenders\[0\] = 'finetned' is not allowed\.\n  nearest: finetuned\n  allowed: finetuned, from_scratch, linear_probe"),
        ("contenders=finetuned", r"contenders = 'finetuned' is not allowed\.\n  allowed: a list, each finetuned, linear_probe, from_scratch"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        config_of(override)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("/home/josé/leaves", "\"target.root='/home/josé/leaves'\""),
        ("/d/v=1", "\"target.root='/d/v=1'\""),
        ("p(1)", "\"target.root='p(1)'\""),
        ("/d/a,b", "\"target.root='/d/a,b'\""),
        ("/o'brien", "'target.root='\"'\"'/o\\'\"'\"'brien'\"'\"''"),
    ],
)
def test_what_hydra_cannot_read_unquoted_is_given_in_quotes(value: str, quoted: str) -> None:
    typed = f"target.root={value}"
    with pytest.raises(ConfigError) as refused:
        compose(ROOT, ["target=image_folder", typed])
    assert str(refused.value).splitlines() == [
        f"{typed}: this is not one value, as Hydra reads it.",
        f"  give it in quotes: {quoted}",
    ]
    (read,) = OverridesParser.create().parse_overrides(shlex.split(quoted))
    assert read.value() == value


def test_a_list_that_hydra_cannot_read_is_explained_too() -> None:
    with pytest.raises(ConfigError, match=r"contenders=\[é\]: this is not one value(?s:.*)NAME=\['VALUE'\]"):
        compose(ROOT, ["contenders=[é]"])


def test_a_number_is_a_folders_name_too() -> None:
    assert config_of("target=image_folder", "target.root=2024").target.root == "2024"


@pytest.mark.parametrize(
    ("name", "address"), [("target.root", "s3://bucket/x.pth"), ("source.weights", "file:///x.pth")]
)
def test_an_address_is_no_path(name: str, address: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} = '{address}' is not allowed(?s:.*)path"):
        config_of("target=image_folder", "target.root=x", "source=weights", f"{name}={address}")


def test_an_unfrozen_body_needs_a_rate() -> None:
    with pytest.raises(
        ConfigError, match=r"finetune\.body_lr = None is not allowed.*(?s:.*)some of the body learns"
    ):
        config_of("finetune.body_lr=null", "finetune.head_lr=1e-3")
    assert config_of("finetune=linear_probe", "finetune.body_lr=null").finetune.body_lr is None


def test_the_known_architectures_are_torchvisions() -> None:
    from torchvision import models

    from thawline.config.architectures import ARCHITECTURES

    assert sorted(models.list_models(module=models)) == list(ARCHITECTURES)


def test_freezing_a_random_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="freezing random weights"):
        config_of("finetune=from_scratch", "finetune.depth=2")


@pytest.mark.parametrize("override", ["method=lora", "units=[layer1]", "wise_ft=0.5"])
def test_what_needs_a_source_model_is_refused_from_scratch(override: str) -> None:
    name = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"finetune\.{name} = .* is not allowed(?s:.*)no source model"):
        config_of("finetune=from_scratch", f"finetune.{override}")


def test_units_and_depth_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"finetune\.depth = 2 is not allowed(?s:.*)units says which"):
        config_of("finetune=surgical", "finetune.depth=2")
    with pytest.raises(ConfigError, match=r"finetune\.units = \[\] is not allowed"):
        config_of("finetune.units=[]")


@pytest.mark.parametrize("method", ["lora", "scale_shift"])
def test_weights_that_stay_need_no_pull(method: str) -> None:
    with pytest.raises(ConfigError, match=rf"finetune\.l2_sp = 0\.1 is not allowed(?s:.*)method is {method}"):
        config_of(f"finetune={method}", "finetune.l2_sp=0.1")


def test_phases_need_epochs() -> None:
    with pytest.raises(
        ConfigError, match=r"finetune\.phases = .*probe_first.* is not allowed(?s:.*)epochs is 1"
    ):
        config_of("finetune=lp_ft", "finetune.epochs=1")


def test_modules_that_were_added_cannot_be_averaged() -> None:
    with pytest.raises(ConfigError, match=r"finetune\.soup = 2 is not allowed(?s:.*)what lora modules do"):
        config_of("finetune=lora", "finetune.soup=2")


def test_batch_norm_that_learns_needs_a_rate_even_in_a_linear_probe() -> None:
    with pytest.raises(ConfigError, match=r"finetune\.body_lr = None(?s:.*)frozen_batch_norm"):
        config_of("finetune=linear_probe", "finetune.body_lr=null", "finetune.frozen_batch_norm=affine")


def test_dvc_watches_the_pictures_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert watch("leaves", False) == str(tmp_path / "leaves")
    assert watch("~/leaves", False) == str(tmp_path / "home" / "leaves")
    assert watch(None, False, "model.pth") == str(tmp_path / "model.pth")


def test_dvc_watches_pictures_without_labels_and_what_mistakes_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "constraints.txt").touch()
    plain = config_of()
    assert plain.target.unlabelled_watch == plain.evaluate.costs_watch == "constraints.txt"
    config = typed("target.unlabelled=more", "evaluate.costs=costs.csv", "finetune.reward=costs")
    assert is_supervised(config)
    assert config.target.unlabelled_watch == str(tmp_path / "more")
    assert config.evaluate.costs_watch == config.evaluate.reward_watch == str(tmp_path / "costs.csv")
    with pytest.raises(ConfigError, match=r"target\.unlabelled = 'more': .*more does not exist"):
        require_watched(config, tmp_path)
    (tmp_path / "more").mkdir()
    with pytest.raises(ConfigError, match=r"evaluate\.costs = 'costs\.csv'.*costs\.csv does not exist"):
        require_watched(config, tmp_path)


def test_every_set_of_pictures_may_have_some_without_labels() -> None:
    for target in (ROOT / "conf" / "target").glob("*.yaml"):
        assert "unlabelled_watch: ${watch:${.unlabelled},false}" in target.read_text()


def test_embedded_and_downloaded_data_depend_on_the_pinned_packages() -> None:
    assert (
        watch(None, False) == watch("downloads", True) == watch(None, False, "DEFAULT") == "constraints.txt"
    )


def test_relative_paths_start_at_the_real_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert located("pictures") == tmp_path / "pictures"
    assert located("/pictures") == Path("/pictures")


def test_a_search_watches_what_mistakes_cost_only_where_that_is_rewarded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(ROOT))
    assert watch_reward("costs.csv", "none") == "constraints.txt"
    assert watch_reward("costs.csv", "costs") == str(ROOT / "costs.csv")
