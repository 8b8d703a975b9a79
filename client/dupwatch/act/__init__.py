"""Acting on copies: a plan of what may go, carried out with the caller's rights, and undone.

In: groups of copies as the service's command `plan` gives them. Out: files moved, and a journal with which each of
them is put back. The service never writes below a root: all that changes photos is in this package, and it alone of
the client may import blake3 and send2trash. In reading order:

    plan_file    what a plan says, and how it is written; `plan_reading` reads one and believes nothing in it
    families     sidecars and movies that belong to a picture; `movable` says what could not be moved
    planning     groups of the service and families beside the files → a plan
    folders      opens files by way of open folders, so that no link leads astray; `kernel` has the system calls
    content      reads files whole and compares them with what the plan says of them
    quarantine   where files are put, and the lock on it; `journal` notes each step before and after it
    moving       takes a file away without overwriting anything, and puts one down; `steps` does so for each action
    apply        carries out a plan; `undo` puts back, `purge` deletes for good
    telling      tells the service what has gone and what has come back
"""
