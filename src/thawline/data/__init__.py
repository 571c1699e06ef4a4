"""Labelled pictures: where they come from, how they are split, decoded once and served in batches."""
