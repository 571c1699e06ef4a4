"""The figures of the page, drawn once, in a light and a dark version."""

from thawline.report.figures.gallery import gallery
from thawline.report.figures.style import Picture, write_picture

__all__ = ["Picture", "gallery", "write_picture"]
