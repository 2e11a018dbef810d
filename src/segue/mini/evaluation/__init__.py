"""Checks of the embedded model alone."""
