"""Measure a model by asking it, through the same session that users call: `segue.evaluation.evaluate`."""
