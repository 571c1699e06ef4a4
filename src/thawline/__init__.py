"""Fine-tune image classifiers on few pictures, and learn how much of the source model to freeze."""
