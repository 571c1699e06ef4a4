"""What one trial is: a recipe, trained and validated within its limits."""
