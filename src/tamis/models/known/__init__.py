"""Documents that a warm model has read before: their states on disk, so that only the joint layers are left to do."""
