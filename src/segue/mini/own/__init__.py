"""Own data for the embedded model that finds: names, readouts, masks and words for what a user annotated."""
