"""Reading files: jobs go in, outcomes with thumbnails, proofs and facts come out. `pool.WorkerPool` is the only way in.

In reading order:

    limits              what one file may cost
    pool                hands jobs to worker processes and makes outcomes of their replies
    chunks              which files a worker gets together, and what is tried again
    worker_connection   the pool's end of the connection to one worker
    messages            what pool and worker say to each other
    fork_server         the process that forks workers
    worker              the worker process: answers the pool's requests
    file_reading        one file's bytes, if it does not change meanwhile
    decode              the bytes of one file to its thumbnail and proof: which decoder takes it
    jpeg_segments       how a JPEG file is built, and what of it belongs to the picture
    jpeg                JPEG, by libjpeg-turbo
    webp                WebP, by OpenCV
    raw, raw_length     RAW photos, by LibRaw
    pillow_formats      all other formats, by Pillow
    frames              animations and files of several pages
    all_pixels          what tells two files of one picture apart
    facts               what a file says of its own history
    keywords, captions, places   what its metadata say of the picture: keywords; captions and people; where it was taken
    xmp, iptc, png_metadata      how that is found there; texts: made short lines
    metadata_blocks     where metadata stand in a GIF, PSD, JPEG 2000 or JPEG XL
    depth               how finely it holds its colours
    profiles            what its colour profile means
    png_chunks          whether all of a PNG is there
    unsupported         kinds of files that nothing here reads, by name
    thumbnail           area averaging
    reasons             why there is no thumbnail, in one line
"""
