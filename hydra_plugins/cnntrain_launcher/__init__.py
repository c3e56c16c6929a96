"""The sweep's launcher: each job in its own folder and its own process (Hydra takes plugins from this namespace alone)."""
