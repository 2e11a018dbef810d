"""The page: `segue demo`."""
