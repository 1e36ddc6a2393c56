"""Files on disk: tables that are read, folders that are saved, archives that are fetched.

What writes goes through `atomic` (whole or not at all), what reads through `limits` (regular files
only, within limits, no code is run). Nothing else in the package opens a file of its own.
"""
