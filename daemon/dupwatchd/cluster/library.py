"""What Dask is told before it is used, and whether it is there at all.

Dask itself is imported where it is used, as late as that: it takes half a second.
"""

import importlib.util
import logging
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from dupwatchd.errors import UsageError
from dupwatchd.settings.model import ClusterSettings

if TYPE_CHECKING:
    from distributed.security import Security

CONNECT_SECONDS = 4.0  # a node on a local network that takes longer, though it may be busy, is not there
_GREETING_SECONDS = 1.5  # without TLS, when the node is on this machine; one that expects TLS says nothing at all


def require() -> None:
    """Raise UsageError, which says what installs it, if Dask is not there."""
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("a cluster needs the extra of that name: pip install 'dupwatch[cluster]'")


def configure(cluster: ClusterSettings) -> None:
    """Set what our nodes rely on, whatever a file of Dask's own on this machine says."""
    import dask

    dask.config.set(
        {
            "distributed.comm.require-encryption": cluster.has_tls,
            "distributed.comm.tls.min-version": 1.2,
            "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
            "distributed.scheduler.worker-ttl": f"{cluster.worker_lost_seconds}s",
            "distributed.scheduler.allowed-failures": 2,  # so many machines may die with a batch before it is given up
            "distributed.scheduler.idle-timeout": None,
            # no pages, and no metrics, for whoever can reach the machine
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            # what it watches itself with takes a third of the processor time of a node
            "distributed.worker.profile.enabled": False,
            "distributed.admin.system-monitor.gil.enabled": False,
            "distributed.admin.system-monitor.interval": "5s",
            "distributed.admin.tick.interval": "500ms",
            "distributed.scheduler.active-memory-manager.start": False,  # nothing is replicated
            "distributed.diagnostics.nvml": False,
        }
    )


def keep_quiet() -> None:
    """Let Dask log nothing in the writer, which says itself what is wrong, in words for a person."""
    import distributed  # noqa: F401 - which sets up its own logging when it is imported

    known = [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]
    for name in ("asyncio", *known):  # some have handlers and levels of their own
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False


def security_of(cluster: ClusterSettings) -> "Security | None":
    """The certificates that this machine shows; None without TLS. Raises UsageError for files that will not do."""
    if not cluster.has_tls:
        return None
    from distributed.security import Security

    _context(cluster)
    files: dict[str, Any] = {"tls_ca_file": cluster.tls_ca, "require_encryption": True}
    for role in ("client", "scheduler", "worker"):
        files |= {f"tls_{role}_cert": cluster.tls_cert, f"tls_{role}_key": cluster.tls_key}
    return Security(**files)


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of tls://host:port, without the brackets around an address of IPv6."""
    host, _, port = address.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def why_unreachable(cluster: ClusterSettings) -> str | None:
    """Connect once, as a node would, and say at once what is wrong; None: the scheduler lets us in.

    Dask itself would try again and again, and then give no reason. Whoever is refused hears it within two seconds.
    Raises UsageError for certificates that will not do.
    """
    assert cluster.scheduler is not None
    host, port = host_and_port(cluster.scheduler)
    context = _context(cluster) if cluster.has_tls else None
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as plain:
            connection = plain if context is None else context.wrap_socket(plain)
            connection.settimeout(_GREETING_SECONDS if context is None else CONNECT_SECONDS)
            with connection:
                # a node speaks first; whoever refuses our certificate says so only now
                if not connection.recv(1):
                    return "it ends the connection at once"
    except ssl.SSLError as error:
        return f"TLS: {error.reason or error}".replace("_", " ").lower().replace("tls", "TLS", 1)
    except TimeoutError:
        return "no answer" if context else "no answer; is TLS, or another program, at that port?"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _context(cluster: ClusterSettings) -> ssl.SSLContext:
    """As Dask makes it for a client; raises UsageError for files that will not do."""
    assert cluster.tls_ca is not None
    assert cluster.tls_cert is not None
    for name in ("tls_ca", "tls_cert", "tls_key"):
        path = getattr(cluster, name)
        if not os.access(path, os.R_OK):
            raise UsageError(f"setting cluster.{name}: cannot read {path}")
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=cluster.tls_ca)
        context.load_cert_chain(cluster.tls_cert, cluster.tls_key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise UsageError(
            f"settings cluster.tls_ca, tls_cert, tls_key: these files do not go together ({reason})"
        ) from error
    context.check_hostname = False  # who has a certificate of our authority belongs to us, wherever it runs
    return context
