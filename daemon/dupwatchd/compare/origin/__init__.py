"""Which of two files that show one picture is nearer the original.

`direction` compares two, the other modules serve it. Nothing here opens a file.
"""
