"""Other programs' interfaces over this engine, for those who come from them; nothing else of dupwatch imports this.

difpy           the Python interface of difPy 4: ``import dupwatchd.compat.difpy as difPy``
difpy_cli       its command line, as the program `dupwatch-difpy`
difpy_options   what its parameters may be
difpy_files     which files its arguments mean
file_index      chosen files, and no others, in an index
difpy_matching  matches → its `result`, `lower_quality` and counts
difpy_acting    its `move_to` and `delete`, over plans and their apply
"""
