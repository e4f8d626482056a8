"""Table 2: general ability."""
