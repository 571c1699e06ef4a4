"""CIFAR-10: 60,000 pictures of ten things, 32 x 32 pixels (Krizhevsky 2009)."""

from thawline.data.torchvision_sets import collector

collect = collector("CIFAR10", {"train": {"train": True}, "test": {"train": False}})
