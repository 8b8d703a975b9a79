"""dupwatchd: keeps the answer to "which pictures here are copies of each other?" current."""

__version__ = "0.1.0"
