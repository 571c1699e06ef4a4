"""The figures of the page, drawn once, in a light and a dark version."""
