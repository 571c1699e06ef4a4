"""Food-101: 101,000 photographs of 101 dishes (Bossard et al. 2014)."""

from thawline.data.torchvision_sets import collector

collect = collector("Food101", {"train": {"split": "train"}, "test": {"split": "test"}})
