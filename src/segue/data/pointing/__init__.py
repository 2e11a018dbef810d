"""Questions that point at a region of an image, made of annotations; read README.md."""
