"""A step: new files in, outcomes with thumbnails out; `pool.WorkerPool` is the way in."""
