"""What mask memory brings: dialogues whose last question needs the mask of an earlier answer."""
