"""The seeing half of the embedded model: names, heats, findings and masks learned from stored features."""
