"""The kinds of data set that are read from `root`: a module each, whose name is the data set's.

Every module has `collect(data: DataSet, seed: int) -> Collection`. Those in `embedded` need no root.
"""
