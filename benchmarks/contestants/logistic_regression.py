"""scikit-learn's logistic regression on the features of one plain pass: what a linear probe is elsewhere."""

from pathlib import Path

import numpy as np
import torch
from contestants.task import Prepared, Task, Trained
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from thawline.models.cuts import head_name


def prepare(path: Path) -> Prepared:
    task = Task.load(path)
    torch.set_num_threads(task.threads)
    network, (images, labels) = task.network(), task.pictures()
    network.set_submodule(head_name(network), nn.Identity())
    network.eval()

    def train() -> Trained:
        with torch.inference_mode():
            parts = [network(images[places]) for places in torch.arange(len(images)).split(32)]
        rows = torch.cat(parts).numpy()
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, labels.numpy())
        said = head.predict_log_proba(rows)
        return {"losses": [float(-said[np.arange(len(rows)), labels].mean())]}

    return train
