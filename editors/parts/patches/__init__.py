"""The parts of T-Patcher: extra neurons of an MLP, their losses and their training."""
