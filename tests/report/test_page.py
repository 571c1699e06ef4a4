"""The page answers first, and shows labels as they are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thawline.report.costs import collect_costs
from thawline.report.figures import gallery
from thawline.report.findings import read_findings
from thawline.report.page import cell, page


@pytest.fixture
def written(finished: Callable[..., Any]) -> Callable[..., str]:
    def make(**story: Any) -> str:
        config, artifacts = finished(**story)
        findings = read_findings(artifacts, config.evaluate.confidence)
        costs = collect_costs(findings)
        return page(config, findings, costs, gallery(findings, costs))

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
    assert "| search, fine-tuned |" in text


def test_published_weights_are_named(written: Callable[..., str]) -> None:
    assert "Fine-tuning starts from resnet18 with the weights `DEFAULT`." in written(weights=True)


def test_the_source_model_says_how_good_it_is(written: Callable[..., str]) -> None:
    text = written()
    assert re.search(r"pretrained on glyphs for 12 epochs \(\d+\.\d % of its own validation", text)


def test_a_chosen_linear_probe_is_not_compared_with_itself(written: Callable[..., str]) -> None:
    text = written(depth=9)
    assert text.splitlines()[4].startswith("With only the head trained (all 9 units frozen)")
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
    assert "| linear probe | 9 (`layer4.1`) | – | 3.2e-3 | " in lora
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
