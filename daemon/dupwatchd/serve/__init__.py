"""Serving: answers questions from what was committed. It reads the stores and changes nothing in them.

In reading order, the way of a question:

server         the sockets; connections: who asks, and who has gone; binding: files, rights and keys of the sockets
request_queue  lanes of threads, bounded, in turn; uploads: the pictures that clients send
questions      one handler for each command
waiting        the clients that wait until the index is up to date
readers        connections to the database; library_cache: the library that several questions share
library        pages of clusters, from: columns (numbers of all files), ranking (which clusters come first),
               clusters (what a cluster is, exactly), keep (which of its files to keep)
results        the shapes of answers
"""
