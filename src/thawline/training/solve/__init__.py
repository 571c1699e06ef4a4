"""Linear heads on stored features, solved instead of trained: logistic regression and ridge, each over a
path of penalties that out-of-fold predictions choose from."""
