"""Every command of the README, and of the page it sends to next, that is not about one's own photographs does
what it says, in a clone; and what DVC then runs again.

The commands run once, in order, and the tests of this file look at what each said and left; the last ones
change something more.
"""

import sqlite3
from pathlib import Path

import pytest
import yaml
from tests_clone import Clone, stages_in
from tests_commands import (
    LAST,
    MINUTES,
    SHORT,
    about_photographs,
    commands,
    lend_this_environment,
    only,
    run_all,
    shrink,
)
from tests_page import require_readable


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose configuration is small enough for a test."""
    made = Clone(tmp_path_factory.mktemp("readme"))
    shrink(made)
    lend_this_environment(made)
    return made


@pytest.fixture(scope="module")
def said(clone: Clone) -> dict[str, str]:
    """Run the commands on the embedded pictures; what each said, by the command as it is written there."""
    written = commands()
    assert written[:2] == ["make repro", "make test"]
    for long in SHORT:
        assert sum(long in command for command in written) == 1
    # `make test` is this test; of photographs is test_readme_photographs.py
    return run_all(clone, [each for each in written[:1] + written[2:] if not about_photographs(each)])


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES)
def test_every_command_of_the_readme_works(clone: Clone, said: dict[str, str]) -> None:
    assert stages_in(said["killed"])[0] == "params"
    assert (clone.root / "reports/metrics.json").exists()
    assert stages_in(said["dvc repro"]) == []
    assert said["dvc repro"].strip().endswith("Data and pipelines are up to date.")


@pytest.mark.slow
def test_a_killed_reproduction_goes_on_and_leaves_nothing_half_done(
    clone: Clone, said: dict[str, str]
) -> None:
    assert stages_in(said["make repro"])[0] == "search"
    assert not list((clone.root / "artifacts").rglob("*.partial"))
    with sqlite3.connect(clone.root / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)


@pytest.mark.slow
def test_the_page_opens_on_every_screen_and_asks_nobody(
    clone: Clone, said: dict[str, str], tmp_path: Path
) -> None:
    page = clone.root / "reports" / "index.html"
    assert page.stat().st_size < 5_000_000
    require_readable(page, tmp_path / "browser")


@pytest.mark.slow
def test_only_evaluate_has_opened_the_test_split(clone: Clone, said: dict[str, str]) -> None:
    stages = yaml.safe_load((clone.root / "dvc.lock").read_text())["stages"]
    opened = {
        name
        for name, stage in stages.items()
        if any("artifacts/prepare/test" in dep["path"] for dep in stage["deps"])
    }
    assert opened == {"evaluate"}


@pytest.mark.slow
def test_a_changed_recipe_leaves_the_source_model_alone(said: dict[str, str]) -> None:
    ran = set(stages_in(only(said, "dvc exp run", "finetune=frozen")))
    assert not {"prepare_source", "prepare_target", "pretrain", "replace_head"} & ran
    assert {"search", "finetune", "evaluate", "report"} <= ran


@pytest.mark.slow
def test_a_stage_called_by_hand_sweeps_and_leaves_dvc_alone(said: dict[str, str]) -> None:
    assert only(said, "pipelines/search.py -m").count("written below scratch") == 2


@pytest.mark.slow
def test_dvc_shows_what_changed_in_params_metrics_and_plots(clone: Clone, said: dict[str, str]) -> None:
    assert "finetune.depth" in clone.run("dvc", "params", "diff")
    assert "finetuned.accuracy.mean" in clone.run("dvc", "metrics", "diff", "--all")
    page = clone.run("dvc", "plots", "show").strip().removeprefix("file://").replace("%20", " ")
    shown = Path(page).read_text()
    assert "Fine-tuning finetuned" in shown
    assert "Confusion" in shown


@pytest.mark.slow
def test_a_wrong_experiment_is_refused_before_anything_runs(clone: Clone, said: dict[str, str]) -> None:
    output = clone.run("dvc", "exp", "run", "-S", "finetune.hed_lr=1", check=False)
    assert "nearest: finetune.head_lr" in output
    assert "Running stage" not in output


@pytest.mark.slow
def test_a_changed_report_reruns_only_the_report_and_a_temporary_experiment_its_own_code(
    clone: Clone, said: dict[str, str]
) -> None:
    clone.run("git", "add", "dvc.lock", "reports")
    clone.run("git", "commit", "-qam", "reproduced")
    code = clone.root / "src/thawline/report/report.py"
    told = '    config.report.title = f\'{__file__} for {__import__("os").environ["DVC_ROOT"]}\'\n'
    code.write_text(code.read_text().replace("    findings = ", f"{told}    findings = ", 1))
    output = clone.run("dvc", "exp", "run", "--temp", *LAST, "-S", "report.dpi=50")
    assert stages_in(output) == ["params", "code", "report"]
    newest = ("--sort=-committerdate", "--count=1", "--format=%(objectname)")
    experiment = clone.run("git", "for-each-ref", *newest, "refs/exps/*/*/*").strip()
    page = clone.run("git", "show", f"{experiment}:reports/README.md")
    file, root = page.partition("# ")[2].partition("\n")[0].split(" for ")
    assert Path(file).is_relative_to(clone.root / ".dvc" / "tmp")
    assert Path(root) == clone.root
