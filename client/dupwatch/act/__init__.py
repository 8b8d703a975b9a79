"""Acting on copies: a plan of what may go, carried out with the caller's rights, and undone.

In: groups of copies as the service's command `plan` gives them. Out: files moved, and a journal with which each of
them is put back. The service never writes below a root: all that changes photos is in this package, and it alone of
the client may import blake3 and send2trash. In reading order:

    plan_file    what a plan says, and how it is written; `plan_reading` reads one and believes nothing in it
    plan_values  the single values of a plan, each checked by itself
    movable      what could not be moved; `dupwatch.families` says which sidecars and movies belong to a picture
    planning     groups of the service and families beside the files → a plan
    folders      opens files by way of open folders, so that no link leads astray; `kernel` has the system calls
    content      reads files whole and compares them with what the plan says of them; `traits` is what they have beside
    quarantine   where files are put, and the lock on it; `quarantine_place` says where one can be
    runs         what the journals say; `journal` writes it: each step before and after it is done
    moving       takes a file away without overwriting anything, and puts one down; `trash` uses the desktop's
    intents      what is about to be done with files; `steps` does it, for each action
    apply        carries out a plan
    found_journals  reads those in quarantines, as far as a plan goes, where nobody else can have written them
    undo         puts back: `undo_places` finds where from and where to, `undo_links` parts links again
    purge        lists what lies in quarantine, and deletes it for good
    explaining   why a file stays or goes, as a plan has it
    asking       asks the service for a plan; `telling` tells it what has gone and what has come back
"""
