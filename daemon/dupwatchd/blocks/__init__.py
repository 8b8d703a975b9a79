"""The blocks: thumbnails at rest, in files of a fixed number of slots. A noun: it keeps, it decides nothing."""
