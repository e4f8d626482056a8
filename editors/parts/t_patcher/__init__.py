"""The parts of T-Patcher: extra neurons of an MLP, the memory text, the published method."""
