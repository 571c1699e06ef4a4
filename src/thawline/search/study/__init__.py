"""Running a study: workers that ask for trials, run them and tell what they came to, whoever of them dies."""
