"""The settings: their schema, their checks, and their typed form."""
