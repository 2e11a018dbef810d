"""Skins and engines that need more than the library: each an extra."""
