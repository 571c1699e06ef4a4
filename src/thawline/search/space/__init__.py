"""The search space: the parameters of a trial, known recipes, and the places of a study."""
