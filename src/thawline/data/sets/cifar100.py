"""CIFAR-100: 60,000 pictures of a hundred things, 32 x 32 pixels (Krizhevsky 2009)."""

from thawline.data.torchvision_sets import collector

collect = collector("CIFAR100", {"train": {"train": True}, "test": {"train": False}})
