"""The bare PyTorch loop with channels last."""

from functools import partial

import torch
from contestants import bare

prepare = partial(bare.prepare, layout=torch.channels_last)
