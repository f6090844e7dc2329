"""A page of charts from the models of transform/: one HTML file that needs nothing else."""
