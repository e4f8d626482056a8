"""Training the weights of trainable editors: draws, held-out selection, resume, artefact."""
