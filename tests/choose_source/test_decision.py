"""Where there is nothing to choose, nothing is loaded, and later stages see what is configured."""

import subprocess
import sys
from pathlib import Path

import pytest

from thawline.artifacts import SOURCE, SOURCES, Artifacts, read_json
from thawline.choose_source.decision import with_chosen_source, write_only
from thawline.config.errors import UserError
from thawline.config.sections import Config, Input, Source

ROOT = Path(__file__).resolve().parents[2]
NOTHING = """
import runpy, sys
from pathlib import Path
from thawline.artifacts import Artifacts
from thawline.config.sections import Config

script = runpy.run_path(sys.argv[1], run_name="imported")
script["choose_source"](Config(), Artifacts.under(Path(sys.argv[2])))
print([name for name in ("torch", "pandas", "numpy", "mlflow", "pytorch_lightning") if name in sys.modules])
"""


def test_without_candidates_the_source_is_as_configured(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NOTHING, str(ROOT / "pipelines" / "choose_source.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"  # which is what makes it quick
    artifacts, config = Artifacts.under(tmp_path), Config()
    assert read_json(artifacts.stage("choose_source") / SOURCE) == {}
    assert (artifacts.reports / SOURCES).read_text().startswith("source,chosen,")
    assert with_chosen_source(config, artifacts) is config


def test_a_single_candidate_is_the_source(tmp_path: Path) -> None:
    source = Source(weights="DEFAULT", candidates=["timm:resnet18=a1_in1k"])
    config, artifacts = Config(source=source, input=Input(size=None)), Artifacts.under(tmp_path)
    write_only(config, artifacts)
    found = with_chosen_source(config, artifacts)
    assert (found.model.architecture, found.source.weights) == ("timm:resnet18", "a1_in1k")
    assert config.source.weights == "DEFAULT"


def test_what_was_chosen_among_other_candidates_is_refused(tmp_path: Path) -> None:
    source = Source(weights="DEFAULT", candidates=["timm:resnet18=a1_in1k"])
    config, artifacts = Config(source=source), Artifacts.under(tmp_path)
    write_only(config, artifacts)
    config.source.candidates = ["resnet18=DEFAULT"]
    with pytest.raises(UserError, match=r"is not of these source\.candidates: resnet18\.\n  choose again"):
        with_chosen_source(config, artifacts)


def test_other_weights_under_the_name_of_a_single_candidate_are_another_decision(tmp_path: Path) -> None:
    weights, decisions = tmp_path / "body.safetensors", []
    for content in (b"one", b"other", b"one"):
        weights.write_bytes(content)
        source = Source(weights="DEFAULT", candidates=[f"mobilenet_v2={weights}"])
        write_only(Config(source=source, input=Input(size=None)), Artifacts.under(tmp_path))
        decisions.append((Artifacts.under(tmp_path).stage("choose_source") / SOURCE).read_bytes())
    assert decisions[0] == decisions[2] != decisions[1]
    assert str(tmp_path).encode() not in decisions[0]
