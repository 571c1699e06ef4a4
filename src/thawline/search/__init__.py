"""The search: which recipe is best, on pictures that are not test pictures."""
