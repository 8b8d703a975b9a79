"""`dupwatchd cluster scheduler` and `cluster worker`: Dask's own programs, with what our settings say.

Both run until they are told to stop. A worker also ends, with status 0, when its scheduler does: whoever starts it is
to start it again, as the units do. Without TLS both listen on this machine only.
"""

import ipaddress
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from dupwatchd.cluster import library, reading
from dupwatchd.errors import DupwatchError, UsageError
from dupwatchd.priority import stand_back
from dupwatchd.settings import Settings
from dupwatchd.settings.model import ClusterSettings

# Dask opens a port for its pages although it is told to show none; this one nobody else can reach, and it has no pages.
_NO_PAGES = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
_HERE = "127.0.0.1"
_LOOK_AGAIN_SECONDS = 1.0  # for a scheduler that is not there yet, or does not let us in
_CLOSE_SECONDS = 3.0  # enough for the connections; what is being read is lost anyway


def run_scheduler(settings: Settings) -> None:
    """Run the scheduler where the settings say that it listens: by name, that is at all addresses of this machine.

    Raises UsageError, DupwatchError.
    """
    cluster, address = _prepared(settings)
    host, port = library.host_and_port(address)
    if cluster.has_tls and not _is_number(host):
        host = ""  # what its own name leads a machine to is often an address that only itself can reach
    _check_is_free(address, host, port)
    from distributed.cli.dask_scheduler import main

    shown = f"[{host}]" if ":" in host else host
    where = f"{'tls' if cluster.has_tls else 'tcp'}://{shown}"
    options = ["--host", where, "--port", str(port), *_NO_PAGES, *_certificates(cluster)]
    _run(main, options, "dupwatchd cluster scheduler")


def run_worker(settings: Settings, name: str | None, port: int, processors: int, remark: Callable[[str], None]) -> None:
    """Run a worker, on a machine of that name, for the scheduler that the settings name.

    ``port``: where it listens, 0: anywhere; ``processors``: so many batches are read at once; ``remark`` is told what
    it waits for. Raises UsageError, DupwatchError.
    """
    cluster, address = _prepared(settings)
    if port:
        _check_is_free(f"port {port}", "" if cluster.has_tls else _HERE, port)
    _wait_for_scheduler(cluster, remark)
    machine = name or socket.gethostname()
    reading.set_up(machine, cluster.paths)
    stand_back(settings.index.nice, settings.index.io_class)
    from distributed.cli.dask_worker import main

    # A machine may have several workers, and one that comes back must not be taken for the one that was lost.
    options = [address, "--name", f"{machine}-{os.getpid()}", "--nthreads", str(processors), "--nworkers", "1"]
    options += ["--no-nanny", "--memory-limit", "0", "--worker-port", str(port), *_NO_PAGES, *_certificates(cluster)]
    options += ["--preload", __name__]  # for `dask_setup`
    if not cluster.has_tls:
        options += ["--host", _HERE]
    _run(main, options, "dupwatchd cluster worker")


def _run(program: Any, options: list[str], name: str) -> None:
    """Run a program of Dask's until it ends; whoever is told to stop from then on ends well, too."""
    try:
        program.main(options, prog_name=name, standalone_mode=False)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Python takes handlers away before it is done, but not this


def dask_setup(worker: Any) -> None:
    """See to it that a worker which begins to close also ends; Dask calls it, by this name, in each worker.

    One that is told to stop while its scheduler ends may wait for ever, and nobody would start it again.
    """
    threading.Thread(target=_end_after, args=(worker,), name="end", daemon=True).start()


def _end_after(worker: Any) -> None:
    while worker.status.name not in ("closing", "closed", "failed"):
        time.sleep(1)
    time.sleep(_CLOSE_SECONDS)
    os._exit(0)


def _prepared(settings: Settings) -> tuple[ClusterSettings, str]:
    """The settings of the cluster, and the scheduler's address, with Dask ready to run. Raises UsageError."""
    # Dask's own handler is not there yet, or any more while it closes: whoever is told to stop then ends well, too.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    library.require()
    cluster = settings.cluster
    if cluster.scheduler is None:
        raise UsageError("no cluster is named: set cluster.scheduler, or give --address tls://host:port")
    library.security_of(cluster)
    library.configure(cluster)
    return cluster, cluster.scheduler


def _certificates(cluster: ClusterSettings) -> list[str]:
    if not cluster.has_tls:
        return []
    files = {"--tls-ca-file": cluster.tls_ca, "--tls-cert": cluster.tls_cert, "--tls-key": cluster.tls_key}
    return [word for flag, file in files.items() for word in (flag, str(file))]


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wait_for_scheduler(cluster: ClusterSettings, remark: Callable[[str], None]) -> None:
    """Return once the scheduler lets us in; Dask would try for ever, and never say why it is refused."""
    said = None
    while reason := library.why_unreachable(cluster):
        if reason != said:
            remark(f"waiting for the scheduler at {cluster.scheduler}: {reason}")
            said = reason
        time.sleep(_LOOK_AGAIN_SECONDS)


def _check_is_free(where: str, host: str, port: int) -> None:
    """Raise DupwatchError if nobody can listen there: Dask would show a traceback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DupwatchError(f"cannot listen at {where}: {error.strerror or error}") from error
