"""Reading on many machines, on dask.distributed (the extra ``cluster``): the only place that imports Dask.

Jobs go in, outcomes come out, as in `index.pool`, which each machine runs as it is; thumbnails, proofs and facts come
back to the one writer, who alone has the index. In the order in which they are used:

    pool         `ClusterPool`, what intake sees: when to use the cluster, and what is read here after all
    backlog      the jobs that wait, cut into batches
    messages     a batch and its reply as bytes; no Dask, no sockets
    connection   the writer's end of Dask, in a thread of its own: batches to machines that may take part
    reading      what runs on a machine: one batch, and what the machine says of itself
    machines     which machines take part and what each has read, for `status`
    programs     the scheduler and the worker, Dask's own with the right options
    check        `dupwatchd cluster check`
    library      what Dask is told before it is used; says which command installs it

A machine of a cluster is trusted as the writer is, for Dask unpickles what its nodes send. Only the process that
decodes is not trusted, on no machine.
"""
