"""The commands of `dupwatchd cluster`: programs for the machines that read photos, and how these are.

Everything heavy is imported where it is used, see `cli`.
"""

import json
import os
import sys

import click

from dupwatch.output import remark
from dupwatchd.flags import config_flag, given, json_flag, loaded_settings


@click.group(name="cluster")
def cluster_group() -> None:
    """Read photos on many machines: run their programs, or see how they are.

    The service, or a scan, reads on the machines if cluster.scheduler is set and much is pending; docs/cluster.md has
    the set-up. Whoever is let into the cluster can run programs on its machines. It needs the extra: pip install
    'dupwatch[cluster]'.

    \b
    Examples:
      dupwatchd cluster scheduler         on one machine
      dupwatchd cluster worker            on each that is to read
      dupwatchd cluster check             which take part, and why not?
    """


_ADDRESS = click.option(
    "--address", metavar="ADDR", help="Where the scheduler listens: tls://host:port [default: cluster.scheduler]."
)


@cluster_group.command(name="scheduler")
@config_flag
@_ADDRESS
def cluster_scheduler_command(config: str | None, address: str | None) -> None:
    """Run the scheduler, which hands batches of files to the workers, until told to stop.

    There is one for all machines. It reads no photo and keeps nothing. If it ends, the workers end, too, and are
    started again by their units.

    \b
    Examples:
      dupwatchd cluster scheduler
      dupwatchd cluster scheduler --address tls://0.0.0.0:8786   on all its addresses
      dupwatchd cluster scheduler --address tcp://127.0.0.1:8786  to try it on one machine
    """
    from dupwatchd.cluster import programs

    programs.run_scheduler(loaded_settings(given({"cluster": {"scheduler": address}}), config, service=True).settings)


@cluster_group.command(name="worker")
@config_flag
@_ADDRESS
@click.option("--name", metavar="NAME", help="What the machine is called [default: its host name].")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Where it listens [default: any].")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Files decoded at once [default: processors].")
def cluster_worker_command(
    config: str | None, address: str | None, name: str | None, port: int, workers: int | None
) -> None:
    """Run a worker, which reads photos on this machine for the service on another, until told to stop.

    It must have the same versions as the service, and see the same photos, read-only at best; cluster.paths says under
    which other names. The limits of the service hold here, too. It ends when the scheduler does.

    \b
    Examples:
      dupwatchd cluster worker
      dupwatchd cluster worker --address tls://nas.lan:8786 --port 8790
      dupwatchd cluster worker --workers 4 --name desk
    """
    from dupwatchd.assembly import processors
    from dupwatchd.cluster import programs

    chosen = loaded_settings(given({"cluster": {"scheduler": address}}), config, service=True).settings
    programs.run_worker(chosen, name, port, workers or chosen.index.workers or processors(), remark)


@cluster_group.command(name="check")
@config_flag
@_ADDRESS
@click.option("--root", "roots", multiple=True, metavar="DIR", help="Do the machines see the photos in it? Repeatable.")
@json_flag
def cluster_check_command(config: str | None, address: str | None, roots: tuple[str, ...], as_json: bool) -> None:
    """Ask every machine what it is like: its versions and decoders, whether it sees the photos, its clock, TLS.

    Exit status 0: there are machines, and all of them take part. 1: one does not, or none is there.

    \b
    Examples:
      dupwatchd cluster check
      dupwatchd cluster check --root /srv/photos
      dupwatchd cluster check --json
    """
    from dupwatch.terminal import printable
    from dupwatchd.cluster import check
    from dupwatchd.scan import resolve_roots

    named = [os.fsdecode(root) for root in resolve_roots([os.fsencode(root) for root in roots])]
    flags = {"cluster": {"scheduler": address}, "roots": named or None}
    report = check.check(loaded_settings(given(flags), config, service=True).settings)
    if as_json:
        click.echo(json.dumps(report))
    else:
        for line in check.lines(report):
            click.echo(printable(line))
    sys.exit(0 if report["workers"] and all(one["takes_part"] for one in report["workers"]) else 1)
