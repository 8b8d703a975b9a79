"""Other programs' interfaces over this engine, for those who come from them; nothing else of dupwatch imports this.

file_index      chosen files, and no others, in an index
pairs           all pairs of its pictures within an mse

difpy           the Python interface of difPy 4: ``import dupwatchd.compat.difpy as difPy``
difpy_cli       its command line, as the program `dupwatch-difpy`
difpy_options   what its parameters may be
difpy_files     which files its arguments mean
difpy_matching  matches → its `result`, `lower_quality` and counts
difpy_rereading a JPEG against its lossless copy, by all pixels
difpy_acting    its `move_to` and `delete`, over plans and their apply

fastdiff            the Python interface of fast-diff-py 1.0: ``from dupwatchd.compat.fastdiff import FastDifPy``
fastdiff_cli        its command line, as the program `dupwatch-fastdiff`
fastdiff_config     its settings
fastdiff_files      which files its directories mean
fastdiff_reading    its first loop: an index, sizes, hashes
fastdiff_pairs      which pairs of files count, and how far they differ
fastdiff_comparing  its second loop: pairs → table and plots
fastdiff_plots      two pictures side by side
fastdiff_db         its SQLite file, and what it answers
fastdiff_exchange   such a file as CSV and NDJSON, and verified again
"""
