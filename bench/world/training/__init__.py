"""Training of the world's tokenizers, backbones and encoder; needed by `world build` alone."""
