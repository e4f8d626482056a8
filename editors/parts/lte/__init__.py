"""The parts of LTE: its hyper-parameters, memory, losses and training."""
