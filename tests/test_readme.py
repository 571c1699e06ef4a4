"""Every command of the README, and of the page it sends to next, does what it says, in a clone, on toy
pictures; and what DVC then runs again.

The commands run once, in order, and the tests of this file look at what each said and left; the last ones
change something more.
"""

import re
import shutil
import sqlite3
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests_clone import Clone, save_pictures, stages_in
from tests_commands import (
    LAST,
    MINUTES,
    SHORT,
    commands,
    killed_when,
    lend_this_environment,
    publish_weights,
    run,
    serve_and_ask,
    shrink,
    status_with_a_new_picture,
)
from tests_page import require_readable


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose configuration is small enough for a test, with the pictures the README speaks of."""
    made = Clone(tmp_path_factory.mktemp("readme"))
    shrink(made)
    save_pictures(made.home / "leaves", 20, 0)
    shutil.copytree(made.home / "leaves" / "down", made.root / "more-leaves")
    shutil.copy(made.home / "leaves" / "across" / "0.png", made.root / "leaf.jpg")
    return made


@pytest.fixture(scope="module")
def said(clone: Clone) -> dict[str, str]:
    """Run all commands; what each said, by the command as it is written there."""
    lend_this_environment(clone)
    publish_weights(clone)
    written, answers = commands(), dict[str, str]()
    assert written[:2] == ["make repro", "make test"]
    for long in SHORT:
        assert sum(long in command for command in written) == 1
    for command in written:
        if command == "make test":
            continue  # this is make test
        short = command
        for long, quick in SHORT.items():
            short = short.replace(long, quick)
        started = time.monotonic()
        if command == "make repro":
            answers["lost"] = killed_when(clone, short, "search linear_probe", all_of_it=True)
        if command.startswith("thawline fit"):
            answers["killed"] = killed_when(clone, short, "stage 5 of 15")
        if command.startswith("mlflow ui"):
            serve_and_ask(clone, command)
        else:
            answers[command] = run(clone, short)
        sys.stdout.write(f"{time.monotonic() - started:.0f} s: {command}\n")
        if command.startswith("thawline predict"):
            answers["status"] = status_with_a_new_picture(clone)
    return answers


def only(said: dict[str, str], *words: str) -> str:
    """What the one command that holds all `words` said."""
    (answer,) = [text for command, text in said.items() if all(word in command for word in words)]
    return answer


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES)
def test_every_command_of_the_readme_works(clone: Clone, said: dict[str, str]) -> None:
    assert stages_in(said["lost"])[0] == "params"
    assert (clone.root / "reports/metrics.json").exists()
    assert stages_in(said["dvc repro"]) == []
    assert run(clone, "dvc repro | tail -n 1").strip() == "Data and pipelines are up to date."


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
def test_a_fit_says_its_command_its_plan_and_its_answer(clone: Clone, said: dict[str, str]) -> None:
    answer = only(said, "thawline fit")
    assert answer.startswith("dvc exp run -S source=imagenet -S target=image_folder -S target.root=")
    # it goes on where it was killed
    assert "params" in stages_in(said["killed"])
    assert "params" not in stages_in(answer)
    for words in ("stage 9 of 15: plan", "a first model is ready", "plan for 1 minutes"):
        assert words in answer
    # so few pictures may all be right
    assert re.search(r"^accuracy   [01]\.\d{3} \(", answer, re.M)
    assert (clone.root / "fits/leaves/report/README.md").exists()
    assert len(only(said, "thawline predict").splitlines()) > 1


@pytest.mark.slow
def test_a_killed_fit_leaves_nobody_at_work_and_goes_on_with_the_time_it_has_used(
    said: dict[str, str],
) -> None:
    assert "stage 6 of 15" not in said["killed"]
    assert re.search(r"^goes on: [1-9]\d* s of its time were used before$", only(said, "thawline fit"), re.M)


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
def test_a_changed_report_reruns_only_the_report(clone: Clone, said: dict[str, str]) -> None:
    output = clone.run("dvc", "exp", "run", *LAST, "-S", "report.title=Toys")
    assert stages_in(output) == ["params", "report"]
    assert "Toys" in (clone.root / "reports/README.md").read_text()


@pytest.mark.slow
def test_a_wrong_experiment_is_refused_before_anything_runs(clone: Clone, said: dict[str, str]) -> None:
    for wrong, answer in (
        ("finetune.hed_lr=1", "nearest: finetune.head_lr"),
        ("finetune.epochs=0", "finetune.epochs = 0 is not allowed"),
    ):
        output = clone.run("dvc", "exp", "run", "-S", wrong, check=False)
        assert answer in output
        assert "Running stage" not in output


@pytest.mark.slow
def test_new_pictures_of_the_target_are_noticed(said: dict[str, str]) -> None:
    changed = {line.rstrip(":") for line in said["status"].splitlines() if line and not line[0].isspace()}
    assert changed == {"choose_source", "prepare_target"}


@pytest.mark.slow
def test_a_temporary_experiment_runs_its_own_code_and_knows_the_repository(
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
