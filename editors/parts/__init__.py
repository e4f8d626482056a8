"""Method-free pieces that several editors share."""
