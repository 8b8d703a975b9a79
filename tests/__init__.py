import os

# As the program does. On a busy machine the threads of the matrix library wait for each other, and the many small
# products of these tests take many times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
