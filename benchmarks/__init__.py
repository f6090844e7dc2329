"""`./run bench`: the tap beside a bare floor program and other tools, measured in one run on one machine."""
