"""Parts of the embedded model alone; nothing of the papers' models imports them."""
