"""Pets: 7,349 photographs of 37 breeds of cats and dogs (Parkhi et al. 2012)."""

from thawline.data.torchvision_sets import collector

collect = collector("OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}})
