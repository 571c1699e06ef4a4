"""The bundle stands alone, whatever the fine-tuned model was made from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TRANSFORM, toy_pictures, write_toy_recipe, write_toy_store
from PIL import Image
from torch import nn

from thawline.artifacts import (
    CARD,
    COSTS,
    HISTORY,
    MODEL,
    Artifacts,
    seed_weights,
    write_json,
    write_text,
)
from thawline.config.errors import UserError
from thawline.config.sections import Config, Export, ExportFormat, Finetune, Method
from thawline.models.adapters.adapt import adapt, adaptation_in
from thawline.models.adapters.adaptation import adaptation_of
from thawline.models.adapters.added import added_parameters
from thawline.models.answering import Answering
from thawline.models.card import ModelCard, read_card
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.serving.cli import main
from thawline.serving.export import export
from thawline.serving.formats import registered
from thawline.serving.predict import card_of

SMALL = ModelCard("tests_networks.Small", {}, ("across", "down"), TRANSFORM, "toy")


REZERO = replace(SMALL, architecture="tests_networks.ReZero")


@pytest.fixture(params=[Method.full, Method.lora, Method.scale_shift, Method.adapter, Method.prompt])
def finetuned(request, tmp_path: Path) -> tuple[Artifacts, nn.Module]:
    """A pipeline that stands before its export, and the network to be exported."""
    artifacts = Artifacts.under(tmp_path)
    write_toy_store(artifacts.data_output("target"), {"train": 8, "val": 8})
    write_toy_recipe(artifacts)
    base = artifacts.stage_output("replace_head") / MODEL
    card = REZERO if request.param is Method.prompt else SMALL
    network = build_random(card, seed=1)
    if card is REZERO:
        for block in network.blocks:
            nn.init.ones_(block.share)
    save_model(base, base.with_name(CARD), network, card)
    if adaptation := adaptation_of(Finetune(method=request.param), [0]):
        adapt(network, adaptation, seed=0)
    with torch.no_grad():
        for name in added_parameters(network) or {"head.weight"}:
            network.get_parameter(name).add_(0.1)
    folder = artifacts.stage_output("finetune", "finetuned")
    save_model(folder / "weights" / seed_weights(0), folder / CARD, network, card, base)
    rows = "seed,epoch,train_loss,val_loss,val_accuracy,seconds\n0,0,0.1,0.5,0.5,1.0\n"
    write_text(folder / HISTORY, rows)
    write_json(folder / COSTS, {"seeds": {"0": {"epoch": 0}}})
    return artifacts, network.eval()


def test_the_bundle_needs_no_base_and_is_plain_where_that_is_possible(finetuned) -> None:
    artifacts, network = finetuned
    export(Config(), artifacts)
    (artifacts.stage("replace_head") / MODEL).unlink()
    bundle = artifacts.stage("export")
    exported, card = load_model(bundle / MODEL, bundle / CARD)
    assert card.base is None
    adaptation = adaptation_in(network)
    mergeable = adaptation is None or adaptation.method in (Method.lora, Method.scale_shift)
    assert card.adaptation == (None if mergeable else adaptation)
    plain = build_random(replace(card, adaptation=None))
    assert (exported.state_dict().keys() == plain.state_dict().keys()) == mergeable
    pictures = torch.randn(2, 3, 16, 16)
    assert torch.equal(exported(pictures), network(pictures))


@pytest.mark.parametrize("finetuned", [Method.lora, Method.adapter], indirect=True)
def test_pictures_are_labelled_by_what_was_exported(
    finetuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts, network = finetuned
    export(Config(), artifacts)
    image = toy_pictures(1, 0)[0][0]
    Image.fromarray(image).save(tmp_path / "0.png")
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--json", "--model", str(artifacts.stage("export")), str(tmp_path / "0.png")])
    assert ended.value.code == 0
    (entry,) = json.loads(capsys.readouterr().out)
    scaled = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    answering = card_of(artifacts.stage("export")).answering
    assert answering is not None
    expected = (network(scaled) / answering.temperature).softmax(1)[0].tolist()
    assert list(entry["probabilities"].values()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("finetuned", [Method.full], indirect=True)
def test_how_it_answers_tells_a_registered_model_from_others(
    finetuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = []
    monkeypatch.setattr(
        registered, "register", lambda _, bundle, card, *__: cards.append((card, card_of(bundle)))
    )
    for share in (0.1, 0.5):
        formats = [ExportFormat.bundle, ExportFormat.mlflow]
        export(Config(export=Export(formats=formats, unknown_share=share)), finetuned[0])
    assert all(given == kept for given, kept in cards)
    assert cards[0][0] != cards[1][0]


@pytest.mark.parametrize("finetuned", [Method.full], indirect=True)
def test_a_fine_tuned_model_is_not_exported_on_another_base(finetuned) -> None:
    artifacts, _ = finetuned
    base = artifacts.stage("replace_head") / MODEL
    save_model(base, base.with_name(CARD), build_random(SMALL, seed=2), SMALL)
    with pytest.raises(UserError, match="is not the base of .*seed_0"):
        export(Config(), artifacts)
    assert not (artifacts.stage_output("export") / MODEL).exists()


@pytest.mark.parametrize("finetuned", [Method.full], indirect=True)
def test_a_solved_head_s_bundle_is_of_the_stored_features_and_the_same(
    finetuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, _ = finetuned
    write_toy_recipe(artifacts, depth="all")
    bundle = artifacts.stage_output("export")

    def written() -> Answering:
        export(Config(), artifacts)
        return read_card(bundle / CARD).answering

    with monkeypatch.context() as shown:
        shown.setattr("thawline.serving.export.solved_alone", lambda *_: False)
        by_pictures = written()
    stored = written()
    assert stored.temperature == pytest.approx(by_pictures.temperature, rel=1e-4)
    assert stored.unknown.threshold == pytest.approx(by_pictures.unknown.threshold, rel=1e-4)

    def nobody(*_: object) -> None:
        pytest.fail("a picture was shown to the network again")

    monkeypatch.setattr("thawline.training.answering.at_last_cut", nobody)
    monkeypatch.setattr("thawline.training.features.prefix.StoredPrefix._computed", nobody)
    assert written() == stored
