"""Whether numbers are still right: references run again, the paper's claims, published cells."""
