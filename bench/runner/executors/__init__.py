"""Where cells run, with one interface: processes of this machine, a Ray cluster, Slurm jobs."""
