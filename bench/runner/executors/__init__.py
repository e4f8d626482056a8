"""Where cells run, behind one interface: processes of this machine, a Ray cluster, Slurm jobs."""
