"""Sizes: how much of each proposed quote may rest (docs/sizing.md)."""
