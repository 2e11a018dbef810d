"""English and grounded text of composed dialogues."""
