"""Who may do what: policy files, their compiled form, and the one function that decides.

Reading order: `model` (what a file may say), `load` and `bundle` (from a directory to one
validated whole), `compile` (bound to a catalog), `decide` (pure), `engine` (the seam that the
analyzer process calls).
"""
