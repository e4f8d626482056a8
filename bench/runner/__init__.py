"""A plan of cells to finished cells: planning, workers, executors, cost estimates."""
