"""What a person sees: a real MLflow server over a store written by our tracking, in a real browser."""

import math
from pathlib import Path

import pytest
from tests_browser import chromium
from tests_tracking import SECONDS, server

from thawline import tracking
from thawline.tracking import view

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"

RECIPE = {"body_lr": 1e-3, "head_lr": 1e-2, "epochs": 12, "batch_size": 64, "optimizer": "adamw"}
RECIPE |= {"method": "lora", "phases": "probe_first"}
TAGS = {"contender": "finetuned", "seed": 0, "data_fingerprint": "1f2e3d4c"}


def history(epochs, best):
    def row(epoch):
        left = math.exp(-(epoch + 1) / 3)
        return {"epoch": epoch, "train_loss": 2 * left, "val_loss": 0.3 + left, "val_accuracy": best - left}

    return [row(epoch) for epoch in range(epochs)]


def record(root):
    """A study of three trials, one of them pruned, and the chosen recipe fine-tuned with two seeds;
    the experiment's id and each run's id by its name."""
    experiment = tracking.connect("sqlite:///mlflow.db", "thawline", root)
    ids = {}
    with tracking.run("search", stage="search", parameters={"trials": 3}, tags=TAGS) as study:
        for number, unit in enumerate(["none", "layer2.1", "layer4.1"]):
            parameters = RECIPE | {"depth": 4 * number, "unit": unit}
            name = f"trial {number}"
            with tracking.run(
                name, stage="search", parameters=parameters, tags=TAGS, parent=study.id
            ) as trial:
                trial.log_history(history(12 if number < 2 else 4, 0.9 - number / 20))
                if number == 2:
                    trial.end("pruned", "worse than half of the trials after 4 epochs")
            ids[name] = trial.id
        study.log_metrics({"val_accuracy": 0.9, "val_loss": 0.3})
    ids["search"] = study.id
    for seed in range(2):
        parameters = RECIPE | {"depth": 4, "unit": "layer2.1"}
        with tracking.run(
            f"seed {seed}", stage="finetune", parameters=parameters, tags=TAGS | {"seed": seed}
        ) as run:
            run.log_history(history(12, 0.92 - seed / 50))
        ids[f"seed {seed}"] = run.id
    return experiment, ids


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Address of the experiment's saved view, and each run's id by its name."""
    root = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        number, ids = record(root)
    with server(root) as address:
        yield f"{address}/{view.ADDRESS.format(experiment_id=number)}", ids


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


class Page:
    def __init__(self, browser):
        self.browser = browser

    def wait(self):
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.browser, SECONDS)

    def text(self):
        return self.browser.find_element("tag name", "body").text

    def shows(self, *words):
        """Wait until every word is on the page."""
        try:
            self.wait().until(lambda _: all(word in self.text() for word in words))
        except Exception:
            self.save("failed")
            raise AssertionError(f"{words} are not all on the page:\n{self.text()}") from None

    def click(self, by, selector):
        found = self.wait().until(lambda browser: browser.find_element(by, selector))
        # a click by script reaches elements that a fading banner still covers
        self.browser.execute_script("arguments[0].click()", found)

    def close_assistant(self):
        for button in self.browser.find_elements("css selector", "[aria-label='Close']"):
            self.browser.execute_script("arguments[0].click()", button)

    def row(self, run):
        """A row's cells, whose two halves (fixed and scrolling) are apart in the page: by column."""
        cells = self.browser.find_elements("css selector", f"[row-id='{run}'] [role='gridcell']")
        return {cell.get_attribute("col-id"): cell.text for cell in cells}

    def save(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(SCREENSHOTS / f"mlflow-{name}.png"))


def test_the_runs_table_compares_recipes(experiment, browser):
    address, ids = experiment
    page = Page(browser)
    browser.get(address)
    page.shows("seed 0", "seed 1", "search", "val_accuracy")
    page.close_assistant()
    page.click("css selector", f"[row-id='{ids['search']}'] [col-id='attributes.`Run Name`'] button")
    page.shows("trial 0", "trial 1", "trial 2")
    page.save("runs")

    shown = page.row(ids["seed 0"])
    assert shown["params.`unit`"] == "layer2.1"
    assert shown["params.`method`"] == "lora"
    assert shown["params.`phases`"] == "probe_first"
    assert shown["params.`head_lr`"] == "0.01"
    assert float(shown["metrics.`val_accuracy`"].rstrip("…")) == pytest.approx(0.92, abs=0.02)
    assert shown["tags.`state`"] == "complete"
    # the same names for the same things: a trial fills exactly the columns that a fine-tuning fills
    trial = page.row(ids["trial 2"])
    assert filled(trial) == filled(shown)
    assert trial["tags.`state`"] == "pruned"


def filled(row):
    return {column for column, text in row.items() if "`" in column and text not in ("", "-")}


def test_two_runs_are_compared_side_by_side(experiment, browser):
    address, ids = experiment
    page = Page(browser)
    browser.get(address)
    page.shows("seed 0", "seed 1")
    page.close_assistant()
    for name in ("seed 0", "seed 1"):
        page.click("css selector", f"[row-id='{ids[name]}'] .ag-selection-checkbox input")
    page.click("xpath", "//button[normalize-space()='Compare']")
    page.shows("Comparing 2 Runs", ids["seed 0"], ids["seed 1"], "head_lr", "val_accuracy", "layer2.1")
    browser.set_window_size(1600, 2600)
    page.save("compare")
