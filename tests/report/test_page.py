"""The page answers first, and shows labels as they are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thawline.artifacts import SUPERVISE, Artifacts, read_json, write_json
from thawline.depth_curve import COLUMNS
from thawline.report.costs import collect_costs
from thawline.report.figures import gallery
from thawline.report.findings import read_findings
from thawline.report.page import content
from thawline.report.rendering import cell, readme, web_page


@pytest.fixture(scope="module")
def written(shared: Callable[..., Any]) -> Callable[..., str]:
    """The page about a story, made once."""
    pages: dict[str, str] = {}

    def make(**story: Any) -> str:
        if repr(story) not in pages:
            config, artifacts = shared(**story)
            findings = read_findings(artifacts, config.evaluate.confidence)
            costs = collect_costs(findings)
            pages[repr(story)] = readme(content(config, findings, costs, gallery(findings, costs)))
        return pages[repr(story)]

    return make


def test_the_answer_comes_first(written: Callable[..., str]) -> None:
    lines = [line for line in written().splitlines() if line and not line.startswith("<!--")]
    assert lines[0] == "# What the last reproduction found"
    assert lines[1].startswith("With the first 3 of 9 units frozen (up to `layer1.1`) and learning rates")
    assert "percentage points more** right than the same network trained from scratch" in lines[1]


def test_every_figure_is_shown_once_in_both_themes(written: Callable[..., str]) -> None:
    text = written()
    for name in ("contenders", "accuracy_by_depth", "learning_rates", "confusion", "reliability", "cost"):
        assert text.count(f'src="figures/{name}-light.svg"') == 1
        assert text.count(f'srcset="figures/{name}-dark.svg"') == 1


def test_every_section_is_there(written: Callable[..., str]) -> None:
    headings = re.findall(r"^## (.*)$", written(), re.MULTILINE)
    assert headings == [
        "Contenders",
        "How much to freeze",
        "The search",
        "Training",
        "On the test pictures",
        "The recipe",
        "The data",
        "What it cost",
        "Reproduce",
    ]


def test_tables_have_as_many_cells_in_every_row(written: Callable[..., str]) -> None:
    text = written(classes=("a|b", "c", "d_"), searched=False)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 6
    tables += re.findall(r"(?:^\|.*\n)+", written(recipe={"method": "lora", "soup": 1}), re.MULTILINE)
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1


def test_what_freezing_saves_is_shown(written: Callable[..., str]) -> None:
    text = written()
    assert "| fine-tuned | 6.60 M (60.0 %) | 74.0 MFLOP | 163 MFLOP | 0.5 s | 562 | 700 MiB |" in text
    assert "| linear probe | 11.0 k (0.1 %) |" in text
    assert "the fine-tuned contender saves 40.0 % of the parameters to train" in text


def test_trainings_of_earlier_versions_have_no_costs_to_show(written: Callable[..., str]) -> None:
    text = written(costs_measured=False)
    assert "trained parameters" not in text
    assert "saves" not in text
    assert "| finetune, fine-tuned | 22 s | 3 |" in text


def test_without_a_search_the_page_says_so(written: Callable[..., str]) -> None:
    text = written(searched=False)
    assert "no search was made" in text
    assert "accuracy_by_depth" not in text
    assert "## The search" not in text
    assert "| search, fine-tuned |" in text


def test_published_weights_are_named(written: Callable[..., str]) -> None:
    assert "Fine-tuning starts from resnet18 with the weights `DEFAULT`." in written(weights=True)


def test_the_source_model_says_how_good_it_is(written: Callable[..., str]) -> None:
    text = written()
    assert re.search(r"pretrained on glyphs for 12 epochs \(\d+\.\d % of its own validation", text)


def test_a_chosen_linear_probe_is_not_compared_with_itself(written: Callable[..., str]) -> None:
    text = written(depth=9)
    assert text.splitlines()[4].startswith("With only a linear head, solved (all 9 units frozen)")
    assert "a linear probe (only the head trained)" not in text


def test_only_what_a_linear_probe_is_goes_without_the_comparison(written: Callable[..., str]) -> None:
    text = written(depth=9, recipe={"frozen_batch_norm": "statistics"})
    assert "BatchNorm's statistics estimated anew in the frozen units" in text.splitlines()[4]
    assert "a linear probe (only the head trained)" in text


def test_a_fine_tuning_that_starts_random_is_not_compared_with_itself(written: Callable[..., str]) -> None:
    text = written(depth=0, recipe={"start": "random", "body_lr": None})
    assert "the same network trained from scratch on" not in text
    assert "Fine-tuning starts from resnet18 with random weights." in text


def test_the_table_of_contenders_tells_methods_where_there_are_any(written: Callable[..., str]) -> None:
    plain = written()
    assert "| contender | frozen units | learning rate | accuracy |" in plain
    assert "| fine-tuned | 3 (`layer1.1`) | 3.2e-3 (head) and 1e-3 (body) | " in plain
    lora = written(recipe={"method": "lora"})
    assert "| contender | frozen units | method | learning rate | accuracy |" in lora
    assert "| fine-tuned | 3 (`layer1.1`) | LoRA | 3.2e-3 (head) and 1e-3 (body) | " in lora
    assert "| linear probe | 9 (`layer4.1`) | – | – | " in lora
    surgical = written(depth=0, recipe={"units": ["layer1", "layer4.0"]})
    assert "| fine-tuned | all but `layer1` and `layer4.0` | 3.2e-3 (head) and" in surgical
    assert "| units | layer1, layer4.0 |" in surgical


def test_the_recipe_is_listed_without_what_means_nothing(written: Callable[..., str]) -> None:
    text = written()
    section = text[text.index("## The recipe") : text.index("## The data")]
    assert "| method | full |" in section
    assert "| depth | 3 |" in section
    assert "| last frozen unit | layer1.1 |" in section
    assert "lora_rank" not in section
    assert "A field that is not listed is off, or means nothing for this recipe." in section
    assert "last frozen unit" not in written(depth=0)


def test_many_classes_are_folded_away(written: Callable[..., str]) -> None:
    assert "<details open>" in written()
    text = written(classes=tuple(f"c{number}" for number in range(30)))
    assert "<details>" in text
    assert "| is | taken for |" in text


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<b> $x$ *y*", r"\<b\> \$x\$ \*y\*"),
        ("polar_bear", "polar_bear"),
        ("_private_", r"\_private\_"),
        ("two\nlines", "two lines"),
    ],
)
def test_labels_are_no_markup(label: str, shown: str) -> None:
    assert cell(label) == shown


def test_the_template_is_part_of_the_package() -> None:
    import thawline.report

    assert (Path(thawline.report.__file__).parent / "templates" / "page.md.jinja").is_file()


SELECTED = {
    "corrected": {"mean": 0.841, "low": 0.752, "high": 0.92},
    "images": 80,
    "validation": {
        "kind": "kfold",
        "folds": 5,
        "reason": "Validated by 5-fold cross-validation, because so.",
    },
}


def freezing(text: str) -> str:
    return text[text.index("## How much to freeze") : text.index("## Training")]


def test_a_depth_curve_is_recommended_from(written: Callable[..., str]) -> None:
    section = freezing(written(curve=True))
    assert section.splitlines()[2].startswith("Depths 0 to 5 are indistinguishable on your 200 validation")
    assert re.search(r"the best of \d trials with 3 frozen units by accuracy on 200 validation", section)
    recommended = (
        "| **4** | layer2.0 | 5 | 94.8 % (92.8 to 96.8) | 92.8 % (90.8 to 94.8) | −0.2 (−2.2 to +1.8) |"
    )
    assert f"{recommended} 6.2 | 2.20 M |" in section
    assert (
        "| 0 | – | 5 | 95.0 % (93.0 to 97.0) | 93.0 % (91.0 to 95.0) | the best | 9.0 | 11.0 M |" in section
    )
    assert section.count('src="figures/accuracy_by_depth-light.svg"') == 1


def test_what_could_not_be_told_is_a_section_of_its_own(written: Callable[..., str]) -> None:
    section = written(curve=True).partition("## What could not be told")[2].partition("## ")[0]
    assert "* It could not be told which of the depths 0, 1, 2, 3, 4, 5 is best." in section
    assert "## What could not be told" not in written()


def test_a_curve_that_was_not_tested_has_no_column_for_it(written: Callable[..., str]) -> None:
    section = freezing(written(curve=True, tested=False))
    assert "test accuracy" not in section
    assert "| **4** | layer2.0 | 5 | 94.8 % (92.8 to 96.8) | −0.2 (−2.2 to +1.8) | 6.2 | 2.20 M |" in section


def test_the_table_of_depths_has_as_many_cells_in_every_row(written: Callable[..., str]) -> None:
    for tested in (True, False):
        table = re.findall(r"(?:^\|.*\n)+", freezing(written(curve=True, tested=tested)), re.MULTILINE)
        assert len(table) == 1
        assert len({row.count("|") for row in table[0].splitlines()}) == 1


def test_the_winner_is_told_with_its_corrected_accuracy(written: Callable[..., str]) -> None:
    section = freezing(written(selected=SELECTED))
    assert (
        "the best of 30 trials by accuracy in 5-fold cross-validation over 80 pictures (96.5 %; corrected "
        "for having been selected: **84.1 %**, 95 % interval 75.2 to 92.0 %). "
        "Validated by 5-fold cross-validation, because so."
    ) in section


@pytest.mark.parametrize("selected", [{}, {"corrected": None, "images": 200}])
def test_a_winner_that_was_not_corrected_is_called_optimistic(
    written: Callable[..., str], selected: dict[str, Any]
) -> None:
    text = written(selected=selected)
    assert "on 200 validation pictures (96.5 %; being the best of many, that number is optimistic)." in text


def test_why_there_is_no_curve_is_said_after_where_the_recipe_comes_from(
    finished: Callable[..., Any],
) -> None:
    config, artifacts = finished()
    (artifacts.reports / "depth_curve.csv").write_text(",".join(COLUMNS) + "\n")
    write_json(artifacts.reports / "recommendation.json", {"depth": 3, "reason": "No depth curve was made."})
    findings = read_findings(artifacts, config.evaluate.confidence)
    assert findings.curve is None
    costs = collect_costs(findings)
    section = freezing(readme(content(config, findings, costs, gallery(findings, costs))))
    assert section.index("The recipe is that of trial 7") < section.index("No depth curve was made.")
    assert "| frozen units |" not in section


def test_a_report_by_hand_takes_curve_and_metrics_from_the_same_place(finished: Callable[..., Any]) -> None:
    config, artifacts = finished(curve=True)
    by_hand = Artifacts.under(artifacts.root, "by-hand")
    assert read_findings(by_hand, config.evaluate.confidence).curve is not None
    write_json(by_hand.reports / "metrics.json", read_json(artifacts.reports / "metrics.json"))
    assert read_findings(by_hand, config.evaluate.confidence).curve is None


def test_the_look_at_the_training_pictures_is_told_where_there_was_one(written: Callable[..., str]) -> None:
    text = written(reviewed=True)
    assert "## The training pictures\n\n3 of 400 labels are worth a second look.\n" in text
    assert "Twice as many pictures (800): +1 to +4 points." in text
    assert text.count('src="figures/more_pictures-light.svg"') == 1
    assert "## The training pictures" not in written()


def test_what_a_reward_came_to_is_a_section_of_its_own(
    finished: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the figures are not drawn
    monkeypatch.setattr("thawline.report.rendering._address", str)
    config, artifacts = finished(recipe={"reward": "balanced_accuracy", "soup": 1})
    path = artifacts.reports / "metrics.json"
    value = {"mean": 0.9, "low": 0.8, "high": 0.95}
    gap = {"mean": 0.0, "low": -0.1, "high": 0.1}
    names = ("likelihood", "likelihood_decided", "reward", "reward_decided")
    told = {"arms": dict.fromkeys(names, value), "differences": dict.fromkeys(names, gap)}
    write_json(path, {**read_json(path), "reward": {"reward": "balanced_accuracy", **told}})
    findings = read_findings(artifacts, config.evaluate.confidence)
    costs = collect_costs(findings)
    page = content(config, findings, costs, gallery(findings, costs))
    assert "a reward phase for balanced accuracy in the last 30 % of the epochs" in page["answer"][0]
    assert "| then the reward, the best decision | 90.0 % (80.0 to 95.0) | 0.0 (−10.0 to +10.0) points |" in (
        readme(page)
    )
    assert "<td>0.0 (−10.0 to +10.0) points</td>" in web_page(page, artifacts.reports)


def test_what_trainings_were_told_is_said_where_it_is_more_than_labels(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    said = "No unlabelled picture teaches, because no gain was shown."
    write_json(artifacts.stage_output("supervise") / SUPERVISE, {"sentences": [said]})
    findings = read_findings(artifacts, 0.95)

    def text() -> str:
        return readme(content(config, findings, collect_costs(findings), {}))

    assert said not in text()
    config.target.unlabelled = "more"
    assert f"## The training pictures\n\n{said}\n" in text()


def test_voters_are_shown_with_how_reliable_they_are(
    finished: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thawline.report.rendering._address", str)
    config, artifacts = finished()
    config.target.votes = "votes.csv"
    voters = [
        {"name": "ann|e", "pictures": 1200, "right": 0.912, "copy_of": None},
        {"name": "bob", "pictures": 0, "right": None, "copy_of": "ann|e"},
    ]
    told = {"sentences": ["2 voters."], "warnings": ["bob says what ann|e says."], "voters": voters}
    write_json(artifacts.stage_output("supervise") / SUPERVISE, told)
    findings = read_findings(artifacts, 0.95)
    costs = collect_costs(findings)
    page = content(config, findings, costs, gallery(findings, costs))
    assert "| ann\\|e | 1,200 | 91.2% |  |\n| bob | 0 | – | ann\\|e |" in readme(page)
    web = web_page(page, artifacts.reports)
    assert "<td>1,200</td><td>91.2%</td><td></td>" in web
    assert "bob says what ann|e says." in web


def test_sources_that_were_compared_are_shown_with_the_chosen_one(written: Callable[..., str]) -> None:
    text = written(sources=True, weights=True)
    assert text.count('src="figures/sources-light.svg"') == 1
    assert (
        'alt="timm:tf_efficientnet_lite0=efficientnet-lite0 and mobilenet_v2=body.pth cannot be told apart; '
        "of those within a point of the best mobilenet_v2=body.pth takes the fewest operations "
        '(83.5 % of 200 pictures right when they are left out)."'
    ) in text
    assert "| **mobilenet_v2=body.pth** | 83.5 % | −0.5 (−4.5 to +3.5) | 81.0 % | 600 MFLOP | 0.012 |" in text
    assert text.index("**mobilenet") < text.index("| resnet18 |")
    assert "sources-light" not in written()
