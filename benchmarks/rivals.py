"""What people would use instead of `thawline fit`: one of these on one set, in a process of its own.

    python benchmarks/rivals.py NAME FOLDER SEED

FOLDER is a set as it lies in its archive, {train,test}/CLASS/FILE. Everybody starts from the ImageNet weights
of EfficientNet-Lite0, with the values that beginners' pages give, and chooses nothing on the test pictures.
The last line is JSON: `paths` (N) of the test pictures, and which of them were right, `correct` (N).
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timm import create_model
from timm.data import create_transform, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from thawline.models.sources.packages import PACKAGES

NAME, BATCH = "tf_efficientnet_lite0", 32


def weights() -> dict[str, torch.Tensor]:
    """Return the published weights by timm's names: the same tensors in the same order."""
    file = PACKAGES["efficientnet-lite0"].path()
    values = torch.load(file, weights_only=True, map_location="cpu").values()
    return dict(zip(create_model(NAME).state_dict(), values, strict=True))


def network(classes: int) -> nn.Module:
    """Return the network with these weights and a random head for `classes`; 0: the body alone."""
    made = create_model(NAME, num_classes=classes)
    body = {name: each for name, each in weights().items() if not name.startswith("classifier")}
    made.load_state_dict({**made.state_dict(), **body})
    return made


def pictures(folder: Path, training: bool = False, augmented: bool = False) -> DataLoader:
    """Return the batches of one part, as timm shows pictures to this network."""
    shown = create_transform(**resolve_data_config({}, model=create_model(NAME)), is_training=augmented)
    return DataLoader(ImageFolder(str(folder / ("train" if training else "test")), shown), BATCH, training)


def logistic_regression(folder: Path) -> np.ndarray:
    """scikit-learn's on the features of the last cut, of one plain pass in 32 bits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    body = network(0).eval()

    def features(training: bool) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            parts = [(body(images).numpy(), labels.numpy()) for images, labels in pictures(folder, training)]
        rows, labels = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(labels)

    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(*features(True))
    rows, labels = features(False)
    return np.asarray(head.predict(rows) == labels)


def fastai(folder: Path, epochs: int) -> np.ndarray:
    """`vision_learner` and `fine_tune` with its augmentation and its own validation part."""
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        get_image_files,
        vision_learner,
    )

    given = ImageDataLoaders.from_folder(
        folder / "train",
        valid_pct=0.2,
        seed=42,
        bs=BATCH,
        num_workers=0,
        item_tfms=Resize(256),
        batch_tfms=[*aug_transforms(size=224), Normalize.from_stats((0.5,) * 3, (0.5,) * 3)],
    )
    learner = vision_learner(given, NAME, pretrained=False, metrics=accuracy)
    body = learner.model[0].model
    body.load_state_dict({name: each for name, each in weights().items() if name in body.state_dict()})
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        files = sorted(get_image_files(folder / "test"), key=lambda file: (file.parent.name, file.name))
        probabilities = learner.get_preds(dl=given.test_dl(files, num_workers=0))[0]
    said = np.array(given.vocab)[probabilities.argmax(1).numpy()]
    return np.array([file.parent.name == each for file, each in zip(files, said, strict=True)])


def timm_loop(folder: Path, epochs: int = 10) -> np.ndarray:
    """The loop of timm's training script: its augmentation, AdamW at 3e-4 with weight decay, a cosine."""
    given = pictures(folder, training=True, augmented=True)
    trained = network(len(given.dataset.classes))
    optimizer = create_optimizer_v2(trained, opt="adamw", lr=3e-4, weight_decay=0.05)
    schedule = CosineLRScheduler(optimizer, t_initial=epochs * len(given), t_in_epochs=False)
    updates = 0
    for _ in range(epochs):
        trained.train()
        for images, labels in given:
            loss = nn.functional.cross_entropy(trained(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            schedule.step_update(num_updates=updates)
    trained.eval()
    with torch.inference_mode():
        right = [trained(images).argmax(1) == labels for images, labels in pictures(folder)]
    return torch.cat(right).numpy()


RIVALS: dict[str, Callable[[Path], np.ndarray]] = {
    "logistic regression": logistic_regression,
    "fastai fine_tune(3)": lambda folder: fastai(folder, 3),
    "fastai fine_tune(10)": lambda folder: fastai(folder, 10),
    "timm, 10 epochs": timm_loop,
}


def main() -> None:
    name, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    correct = RIVALS[name](folder)
    paths = [
        f"{Path(path).parent.name}/{Path(path).name}" for path, _ in ImageFolder(str(folder / "test")).samples
    ]
    sys.stdout.write(f"\n{json.dumps({'paths': paths, 'correct': correct.tolist()})}\n")


if __name__ == "__main__":
    main()
