"""What a run would take, from configurations alone: hours, memory, disk. Nothing is loaded."""
