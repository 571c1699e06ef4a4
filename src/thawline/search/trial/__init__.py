"""One trial: a recipe, trained and validated within its limits."""
