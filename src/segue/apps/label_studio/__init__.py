"""`segue label-studio`: a backend that draws first masks for annotators, and takes their corrections back."""
