"""The page answers first, and shows labels as they are."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from thawline.artifacts import METRICS, SUPERVISE, Artifacts, read_json, write_json
from thawline.config.sections import Config, DataSetName
from thawline.data.naming import called
from thawline.report.findings import Findings, read_findings
from thawline.report.page import title
from thawline.report.rendering import cell
from thawline.report.sources import source_rows

Rendered = Callable[..., tuple[str, str]]


def test_the_answer_comes_first(written: Callable[..., str]) -> None:
    lines = [line for line in written().splitlines() if line and not line.startswith("<!--")]
    assert lines[0] == "# What the last reproduction found"
    assert lines[1].startswith("With the first 3 of 9 units frozen (up to `layer1.1`) and learning rates")
    assert "percentage points more** right than the same network trained from scratch" in lines[1]


def test_a_probe_that_is_the_model_is_no_other_contender(finished: Any, rendered: Rendered) -> None:
    config, artifacts = finished(depth=9)
    metrics = read_json(artifacts.reports / "metrics.json")
    metrics["difference_linear_probe"]["accuracy"] = dict.fromkeys(("mean", "low", "high"), 0.0)
    write_json(artifacts.reports / "metrics.json", metrics)
    told, page = rendered(config, artifacts)
    table = told.partition("## Contenders")[2].partition("## How much to freeze")[0]
    assert "| fine-tuned: the linear probe |" in table
    assert "| linear probe |" not in table
    assert "fine-tuned: the linear probe" in page


def test_pictures_that_final_trainings_learned_from_are_counted(
    shared: Callable[..., tuple[Config, Artifacts]], rendered: Rendered
) -> None:
    sizes = read_json(shared()[1].reports / METRICS)["data"]["sizes"]
    train, val = sizes["train"]["total"], sizes["val"]["total"]
    for text in rendered(*shared()):
        assert f"trained on the same {train:,} pictures and measured on" in text
    for text in rendered(*shared(recipe={"refit": True})):
        assert f"trained on the same {train + val:,} pictures, validation pictures included, and" in text


def test_every_figure_is_shown_once_in_both_themes(written: Callable[..., str]) -> None:
    text = written()
    for name in ("contenders", "accuracy_by_depth", "learning_rates", "confusion", "reliability", "cost"):
        assert text.count(f'src="figures/{name}-light.svg"') == 1
        assert text.count(f'srcset="figures/{name}-dark.svg"') == 1


def test_one_s_own_pictures_give_the_title_where_none_is_chosen() -> None:
    config = Config()
    assert title(config) == "What the last reproduction found"
    config.target.dataset, config.target.root = DataSetName["image_folder"], "/photographs/leaves"
    assert title(config) == "leaves"
    config.report.title = "Autumn"
    assert title(config) == "Autumn"


def test_a_set_that_is_downloaded_is_not_called_as_the_folder_it_is_in() -> None:
    config = Config()
    config.target.dataset, config.target.root = DataSetName["flowers102"], "downloads"
    assert title(config) == "What the last reproduction found"
    assert called(config.target) == "flowers102"


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
    text = written(classes=tuple(f"c{number}" for number in range(30)), seeds=1)
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


def test_a_report_by_hand_takes_curve_and_metrics_from_the_same_place(finished: Callable[..., Any]) -> None:
    config, artifacts = finished(curve=True)
    by_hand = Artifacts.under(artifacts.root, "by-hand")
    assert read_findings(by_hand, config).curve is not None
    write_json(by_hand.reports / "metrics.json", read_json(artifacts.reports / "metrics.json"))
    assert read_findings(by_hand, config).curve is None


def test_intervals_are_over_several_seeds_only_where_there_are_several(written: Callable[..., str]) -> None:
    assert "intervals over test pictures and seeds. No" in written()
    assert "intervals over test pictures. No" in written(seeds=1)


def test_the_look_at_the_training_pictures_is_told_where_there_was_one(written: Callable[..., str]) -> None:
    text = written(reviewed=True)
    assert "## The training pictures\n\n3 of 400 labels are worth a second look.\n" in text
    assert "Twice as many pictures (800): +1 to +4 points." in text
    assert text.count('src="figures/more_pictures-light.svg"') == 1
    drawn = "Taught by 320 pictures, a linear head gets 84.0 % of others right; by 800, as the curve is "
    assert f'alt="{drawn}drawn out, 87.0 % (82.0 to 91.0)."' in text
    assert "## The training pictures" not in written()


def test_what_trainings_were_told_is_said_where_it_is_more_than_labels(
    finished: Callable[..., Any], rendered: Rendered
) -> None:
    config, artifacts = finished()
    said = "No unlabelled picture teaches, because no gain was shown."
    write_json(artifacts.stage_output("supervise") / SUPERVISE, {"sentences": [said]})
    assert said not in rendered(config, artifacts)[0]
    config.target.unlabelled = "more"
    assert f"## The training pictures\n\n{said}\n" in rendered(config, artifacts)[0]


def test_voters_are_shown_with_how_reliable_they_are(
    finished: Callable[..., Any], rendered: Rendered
) -> None:
    config, artifacts = finished()
    config.target.votes = "votes.csv"
    voters = [
        {"name": "ann|e", "pictures": 1200, "right": 0.912, "copy_of": None},
        {"name": "bob", "pictures": 0, "right": None, "copy_of": "ann|e"},
    ]
    told = {"sentences": ["2 voters."], "warnings": ["bob says what ann|e says."], "voters": voters}
    write_json(artifacts.stage_output("supervise") / SUPERVISE, told)
    readme, page = rendered(config, artifacts)
    assert "| ann\\|e | 1,200 | 91.2% |  |\n| bob | 0 | – | ann\\|e |" in readme
    assert "<td>1,200</td><td>91.2%</td><td></td>" in page
    assert "bob says what ann|e says." in page


def test_operations_of_a_source_that_could_not_be_counted_are_not_shown(
    found: Callable[..., Findings],
) -> None:
    findings = found(sources=True, weights=True)
    assert findings.sources is not None
    uncounted = replace(findings, sources=findings.sources.assign(operations=math.inf))
    assert {row["operations"] for row in source_rows(uncounted)} == {"–"}


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
