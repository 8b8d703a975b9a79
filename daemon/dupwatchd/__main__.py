"""`python -m dupwatchd` is `dupwatchd`."""

from dupwatchd.cli import main

main()
