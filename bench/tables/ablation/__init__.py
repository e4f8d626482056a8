"""Table 4: RECIPE without its parts."""
