"""The embedded model's wing: its stages, data and checks. Nothing beside or below imports it."""
