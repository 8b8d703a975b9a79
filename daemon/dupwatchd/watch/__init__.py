"""Watching: what lies under the roots now, and where something may have changed. Nothing is stored here.

In go the file system and the rules of what is a picture file; out come listings (`walk`) and hints (`hints`). A full
walk finds every change by itself; watching only makes sure that one need not wait for the next walk. In reading order:

    walk       lists folders with the stamps of their picture files; `ignore` says which names are passed over
    hints      collects what may have changed, and hands it out once it has been quiet
    watcher    keeps all roots under watch; the only module that others start and stop
    observer   one root: looks at it every two seconds, turns its events into hints (a BaseObserver of watchdog)
    emitter    one root: the thread that reads the kernel's events (an EventEmitter of watchdog)
    inotify    one root: the table of watches, one for each folder
    handler    any event of watchdog → hints
    place      what lies at a root's path, and whether its disk is missing; `mounts` reads what is mounted where
"""
