"""Stages called by hand: what they may read of what the pipeline left, and of what they left themselves."""

import copy
import shlex
import shutil
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from tests_pipelines import ROOT, reads_of

from thawline.artifacts import Artifacts
from thawline.by_hand import FIRST_MODEL, NOT_DECIDING, decided_by, refuse_other_task, scratch_name
from thawline.config.composition import compose, to_config
from thawline.config.errors import UserError
from thawline.config.sections import Contender


@cache
def presets(*typed: str) -> DictConfig:
    return compose(ROOT, list(typed))


@cache
def composed(*overrides: str) -> DictConfig:
    """What conf/ comes to with values of which no others are made, which need no Hydra."""
    return OmegaConf.merge(presets(), OmegaConf.from_dotlist(list(overrides)))  # type: ignore[return-value]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The pipeline and the locked configuration, and nothing that any stage made."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def project(clone: Path) -> Path:
    """The same, and a folder for each artifact that a pipeline leaves."""
    per_contender = [f"{stage}/{one.name}" for stage in ("search", "finetune") for one in Contender]
    made = [
        "prepare/unlabelled",
        "prepare/source",
        "prepare/target",
        "prepare/test",
        "pretrain",
        "replace_head",
        "plan",
        "evaluate",
    ]
    for name in (*made, *per_contender):
        (clone / "artifacts" / name).mkdir(parents=True)
    return clone


def leave_by_hand(root: Path, override: str, *artifacts: str) -> None:
    """Make folders as stages called by hand with `override` would."""
    folder = root / "scratch" / scratch_name(composed(override))
    for name in artifacts:
        (folder / name).mkdir(parents=True)


def check(root: Path, script: str, override: str) -> None:
    """Look whether a script called by hand with `override` may read what lies below `root`."""
    values = composed(override)
    artifacts = Artifacts.under(root, scratch_name(values))
    refuse_other_task(script, artifacts, to_config(values), values, reads_of(script))


def test_what_one_stage_left_by_hand_does_not_vouch_for_another(project: Path) -> None:
    leave_by_hand(project, "finetune.epochs=5", "finetune/finetuned")
    with pytest.raises(UserError, match=r"finetune\.epochs = 5, but what stage evaluate would read"):
        check(project, "evaluate", "finetune.epochs=5")


def test_weights_are_not_completed_by_those_of_another_task(project: Path) -> None:
    trained = [f"{stage}/{contender.name}" for stage in ("search", "finetune") for contender in Contender]
    leave_by_hand(project, "pretrain.epochs=5", "prepare/target", "prepare/test", *trained)
    with pytest.raises(UserError, match=r"pretrain\.epochs = 5, but what stage evaluate would read"):
        check(project, "evaluate", "pretrain.epochs=5")


def test_only_what_is_read_from_the_pipeline_has_to_agree_with_it(project: Path) -> None:
    leave_by_hand(project, "finetune.epochs=5", "search/finetuned", "finetune/finetuned")
    check(project, "export", "finetune.epochs=5")


@pytest.mark.parametrize(
    ("script", "typed", "missing", "command"),
    [
        ("pretrain", "input.size=224", "prepare/source", "prepare.py role=source"),
        ("search", "target.val_fraction=0.3", "prepare/target", "prepare.py role=target"),
        ("report", "evaluate.calibration_bins=5", "evaluate", "evaluate.py"),
    ],
)
def test_in_a_fresh_clone_the_message_says_what_is_missing_and_what_makes_it(
    clone: Path, script: str, typed: str, missing: str, command: str
) -> None:
    values = composed(typed)
    artifacts = Artifacts.under(clone, scratch_name(values))
    with pytest.raises(UserError) as refused:
        refuse_other_task(
            script, artifacts, to_config(values), values, reads_of(script), ["role=source", typed]
        )
    first, make, pipeline = str(refused.value).splitlines()
    assert f"artifacts/{missing}, which stage {script} reads, is not there" in first
    assert make == f"  make it: python pipelines/{command} {typed}"
    assert pipeline == f"  or run the whole pipeline: dvc exp run -S {typed}"


def test_what_was_typed_is_repeated_as_a_shell_takes_it(clone: Path) -> None:
    typed = ["source=image_folder", "source.root='/home/josé/a b'"]
    values = presets(*typed)
    artifacts = Artifacts.under(clone, scratch_name(values))
    with pytest.raises(UserError, match="is not there") as refused:
        refuse_other_task("pretrain", artifacts, to_config(values), values, ("prepare/source",), typed)
    line = str(refused.value).splitlines()[1].partition(": ")[2]
    assert shlex.split(line) == ["python", "pipelines/prepare.py", "role=source", *typed]


def test_stages_called_by_hand_with_equal_values_share_a_folder() -> None:
    first = {"seed": 1, "role": "source", "contenders": ["finetuned"]}
    others = ["finetuned", "linear_probe"]
    assert scratch_name(first) == scratch_name({**first, "role": "target", "contenders": others})
    assert scratch_name(first) != scratch_name({**first, "seed": 2})


def test_by_hand_own_results_are_found_before_those_of_dvc(tmp_path: Path) -> None:
    artifacts = Artifacts.under(tmp_path, "1234abcd")
    assert artifacts.stage("search", "finetuned") == tmp_path / "artifacts/search/finetuned"
    artifacts.stage_output("search", "finetuned").mkdir(parents=True)
    assert artifacts.stage("search", "finetuned") == tmp_path / "scratch/1234abcd/search/finetuned"


def test_a_stage_reads_what_is_there_of_every_contender(project: Path) -> None:
    leave_by_hand(project, "search.trials=7", "search/linear_probe")
    values = composed("search.trials=7")
    artifacts = Artifacts.under(project, scratch_name(values))
    for contenders, allowed in (("linear_probe", True), ("linear_probe,finetuned", False)):
        config = to_config(composed("search.trials=7", f"contenders=[{contenders}]"))
        with nullcontext() if allowed else pytest.raises(UserError, match=r"search\.trials = 7, but"):
            refuse_other_task("finetune", artifacts, config, values, ("search/{contender}",))


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PLAN_FILE = "plan/plan.json"
OUTS = [
    (stage, out.removeprefix("artifacts/"))
    for stage, entry in STAGES.items()
    for each in entry["outs"]
    for out in [each if isinstance(each, str) else next(iter(each))]
    if out.startswith("artifacts/") and "params" in entry and not out.endswith("stopped.json")
]


@pytest.mark.parametrize(("stage", "out"), OUTS)
def test_all_values_that_a_stage_depends_on_decide_its_artifacts(stage: str, out: str) -> None:
    (needed,) = (each["params.yaml"] for each in STAGES[stage]["params"])
    others = FIRST_MODEL if out == PLAN_FILE else ()
    assert set(needed) - set(others) <= set(decided_by(out, ROOT))


@pytest.mark.parametrize(
    ("stage", "value"),
    [
        ("prepare/target", "model.architecture"),
        ("plan/plan.json", "search.trials"),
        ("search/finetuned", "evaluate.confidence"),
        ("finetune/finetuned", "evaluate.resamples"),
    ],
)
def test_a_value_that_decides_what_a_stage_made_decides_what_was_made_of_that(stage: str, value: str) -> None:
    decided = decided_by(stage, ROOT)
    assert any(f"{value}.".startswith(f"{each}.") for each in decided)
    assert not {"report", "evaluate"} & set(decided)


@pytest.mark.parametrize("read", ["plan", "search/finetuned", "finetune/finetuned"])
def test_how_the_first_model_answers_decides_nothing_that_is_read_of_the_plan(read: str) -> None:
    assert set(FIRST_MODEL) <= set(decided_by("plan/model", ROOT))
    assert not set(FIRST_MODEL) & set(decided_by(read, ROOT, idle=("supervise",)))


def test_the_source_is_not_decided_by_the_target() -> None:
    assert not {"target", "finetune"} & set(decided_by("prepare/source", ROOT))


def test_what_an_idle_stage_would_take_from_others_decides_nothing(project: Path) -> None:
    for typed in ("review.repeats=7", "plan.minutes=3", "evaluate.confidence=0.9"):
        leave_by_hand(project, typed, "plan")
        check(project, "supervise", typed)


def test_who_runs_the_trials_decides_no_artifact(project: Path) -> None:
    artifacts, reads = Artifacts.under(project, "by_hand"), ("search/finetuned",)
    values = copy.deepcopy(composed())
    config = to_config(values)
    for name in NOT_DECIDING:
        OmegaConf.update(values, name, "another")
    refuse_other_task("finetune", artifacts, config, values, reads)
    values = composed("search.trials=7")
    with pytest.raises(UserError, match=r"search\.trials = 7, but .* made with"):
        refuse_other_task("finetune", artifacts, config, values, reads)
