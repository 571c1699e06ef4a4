"""Flowers: 8,189 photographs of 102 kinds (Nilsback and Zisserman 2008)."""

from thawline.data.torchvision_sets import collector

collect = collector("Flowers102", {name: {"split": name} for name in ("train", "val", "test")})
