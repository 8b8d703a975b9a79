import os

# As the program does. On a busy machine the threads of the matrix library wait for each other: small products, of which
# these tests make many, then take up to a hundred times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
