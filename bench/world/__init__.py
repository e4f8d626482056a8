"""The embedded world: invented facts, the models that know them, and the sets that test them."""
