"""Table 3: how long editing and asking take."""
