"""The stage that makes the initial target model out of the source model."""

from dataclasses import replace

from thawline.artifacts import CARD, MODEL, Artifacts, file_hash
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.data.store import open_store
from thawline.models import head
from thawline.models.checkpoint import load_model, save_model
from thawline.models.source_head import source_head


def replace_head(config: Config, artifacts: Artifacts) -> None:
    """Write model.safetensors and card.json: the source model with a new head for the target's classes.

    The card lists which tensors were copied, dropped and initialised, and names the source model's
    file by its hash; it says how sure the source's head is of target pictures. Raises `UserError` when an
    input is missing or damaged.
    """
    source, folder = artifacts.stage("pretrain"), artifacts.stage_output("replace_head")
    network, card = load_model(source / MODEL, source / CARD)
    store = open_store(artifacts.data("target"))
    if not store.transform.same_input(card.transform):
        raise UserError(
            "the target's pictures were prepared in another way than the source model expects.\n"
            f"  pictures: {store.transform}\n  model:    {card.transform}\n"
            "  run the whole pipeline: dvc repro"
        )
    classes, said = store.classes, source_head(network, card, store)
    target, tensors = head.replace_head(network, len(classes), config.seed, config.model.head)
    target_card = replace(
        card,
        classes=classes,
        transform=store.transform,
        source_hash=file_hash(source / MODEL),
        tensors=tensors,
        notes={**card.notes, "pictures": store.fingerprint, **({"source_head": said} if said else {})},
        head=config.model.head,
    )
    save_model(folder / MODEL, folder / CARD, target, target_card)
