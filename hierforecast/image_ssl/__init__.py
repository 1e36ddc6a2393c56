"""Self-supervised learning of images with group-equivariant networks."""
