"""The parts of RECIPE: its hyper-parameters, network, losses and training."""
