"""Loaders that others maintain: what their tables hold after two runs, compared with what the API has."""
