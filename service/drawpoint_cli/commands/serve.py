"""`drawpoint serve`: stores over HTTP, in one process or several."""

from __future__ import annotations

import argparse
import errno
import gc
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import uvicorn
from uvicorn.supervisors import Multiprocess

from drawpoint.errors import DrawpointError, InvalidSettings
from drawpoint.remote.settings import TOKEN_VARIABLE
from drawpoint_cli.arguments import Subparsers, add_command, location
from drawpoint_service.app import create_app, open_app, open_stores
from drawpoint_service.server.connection import bound_connections
from drawpoint_service.server.listening import raise_file_limit
from drawpoint_service.settings import Settings, check_store_id, load_settings
from drawpoint_store.storage.locations import is_in_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

    import drawpoint.format.manifest

FAILED = 1
WRONG_USAGE = 2
WORKER_CANNOT_START = 3
"""The status that makes uvicorn stop instead of starting the worker again (its `STARTUP_FAILURE`)."""

LOG = logging.getLogger("drawpoint.service")

BACKLOG = 2048
SHOWN_POINTS = 4096
WORKER_SECONDS = 60
"""How long a worker may take to start, or to answer its supervisor, before it is replaced. On a busy machine uvicorn's
own 5 s pass while all is well, and requests would be lost."""

_EPILOG = f"""\
examples:
  drawpoint serve --store cars=stores/cars
  drawpoint serve --store cars=s3://bucket/cars --store wings=stores/wings --host 0.0.0.0 --port 9000 --workers 4

Every setting: docs/configuration.md. Tokens come from the configuration or ${TOKEN_VARIABLE}.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(
        subparsers,
        "serve",
        "[--store ID=ROOT ...] [options]",
        description="Serve stores over HTTP: GET /docs on the running service lists all requests.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--store",
        action="append",
        type=parse_store,
        default=[],
        metavar="ID=ROOT",
        help="a store to serve, by the id that URLs will have; may be given several times",
    )
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1; 0.0.0.0 is all)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8000; 0 is any free one)")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default 1)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings; options override it")
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="also end when standard input does: with the program that holds its other end, even if that is killed",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; returns 0 then, 1 if it could not, 2 for invalid settings."""
    if args.until_stdin_ends:
        end_with(sys.stdin.fileno())
    try:
        settings = load_settings(args.config, chosen(args), os.environ)
        check_stores(settings)
    except InvalidSettings as error:
        sys.stderr.write(f"drawpoint serve: {error}\n")
        return WRONG_USAGE
    raise_file_limit()
    stores = open_stores(settings)
    app = create_app(stores, settings)
    listener = listen(settings.host, settings.port)
    sys.stdout.write(introduce({name: store.manifest for name, store in stores.items()}, settings, listener))
    sys.stdout.flush()
    if settings.workers == 1:
        return run_here(app, settings, listener)
    # Each worker opens the stores for itself; opening them here has shown that it works.
    del app, stores
    return run_workers(settings, listener)


def end_with(pipe: int) -> None:
    """End this process as SIGTERM does once the other end of `pipe`, a descriptor to read from, is closed.

    A pipe closes with the process that holds it, even if that is killed, on every POSIX system. Linux's
    PR_SET_PDEATHSIG is for Linux alone, and fires when the thread that started the process ends.
    """

    def watch() -> None:
        while os.read(pipe, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def parse_store(text: str) -> tuple[str, str]:
    """Return id and root of `ID=ROOT`; raises ArgumentTypeError."""
    store_id, separator, root = text.partition("=")
    if not separator or not root:
        raise argparse.ArgumentTypeError(f"{text!r} is not ID=ROOT, such as cars=stores/cars")
    try:
        return check_store_id(store_id), location(root)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chosen(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line names; raises InvalidSettings for an id given twice."""
    stores: dict[str, dict[str, str]] = {}
    for store_id, root in args.store:
        if store_id in stores:
            raise InvalidSettings(f"--store {store_id}= is given twice; give each store an id of its own.")
        stores[store_id] = {"root": root}
    named = {name: getattr(args, name) for name in ("host", "port", "workers") if getattr(args, name) is not None}
    return {"stores": stores, **named}


def check_stores(settings: Settings) -> None:
    """Raise InvalidSettings if there is nothing to serve, or a store that workers cannot share."""
    if not settings.stores:
        raise InvalidSettings(
            "there is no store to serve; name one with --store ID=ROOT, or as [stores.ID] in the --config file."
        )
    for store_id, store in settings.stores.items():
        if settings.workers > 1 and is_in_memory(store.root):
            raise InvalidSettings(
                f"store {store_id!r} lies in the memory of one process ({store.root}), which {settings.workers} "
                "workers cannot share; use --workers 1, or a store on disk or in a bucket."
            )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises OSError with one sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
        remedy = "choose another with --port (0 for any free one), or an address of this machine with --host"
        raise OSError(f"port {port} of {host} {reason}; {remedy}.") from error
    # Head and body are written one after the other: without this the body of every answer on a connection that is
    # kept alive would wait 40 ms for the client's delayed acknowledgement. Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def introduce(
    manifests: Mapping[str, drawpoint.format.manifest.StoreManifest], settings: Settings, listener: socket.socket
) -> str:
    """Return the lines that the service prints when it starts: its URL, its stores, and a command to try."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    lines = [f"drawpoint serves {len(manifests)} store(s) at {url} with {settings.workers} worker(s)"]
    to_try: list[str] = []
    for store_id, manifest in manifests.items():
        lines.append(
            f"  {store_id}: {len(manifest.samples)} samples, {len(manifest.fields)} fields, revision "
            f"{manifest.revision[:12]}, from {settings.stores[store_id].root}"
        )
        if manifest.samples and not to_try:
            sample_id, entry = next(iter(manifest.samples.items()))
            counts = [f"{name}={min(SHOWN_POINTS, grid.n_points)}" for name, grid in entry.domains.items()]
            token = f' -H "Authorization: Bearer {token_to_show(settings)}"' if settings.token else ""
            sample = f"{url}/stores/{store_id}/samples/{quote(sample_id)}?{'&'.join([*counts, 'seed=0'])}"
            to_try = [f"try: curl -o sample.safetensors{token} '{sample}'", f"all of it: {url}/docs"]
    return "\n".join([*lines, *to_try, ""])


def token_to_show(settings: Settings) -> str:
    """Return what stands for the token in a line to try: the variable that holds it, or a word to replace."""
    held = [os.environ.get(TOKEN_VARIABLE, "")]
    return f"${TOKEN_VARIABLE}" if held == [token.get_secret_value() for token in settings.token] else "TOKEN"


def run_here(app: FastAPI, settings: Settings, listener: socket.socket) -> int:
    """Serve in this process."""
    server = uvicorn.Server(configure(app, settings))
    warn_if_open(settings, listener)
    # uvicorn raises a signal that ended it early once more when it is done; by then it has been obeyed.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    tune_garbage_collector()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else FAILED


class Workers(Multiprocess):
    """uvicorn's supervisor, which lets go of the port when its workers are to end: they have it until they are done."""

    def terminate_all(self) -> None:
        super().terminate_all()
        for listener in self.sockets:
            listener.close()


def run_workers(settings: Settings, listener: socket.socket) -> int:
    """Serve in worker processes, which are started again should one die."""
    supervisor = Workers(configure(partial(open_worker, settings), settings), sockets=[listener])
    warn_if_open(settings, listener)
    supervisor.run()
    failed = any(worker.exitcode == WORKER_CANNOT_START for worker in supervisor.processes)
    return FAILED if failed else 0


def open_worker(settings: Settings) -> FastAPI:
    """Build a worker's application; a store that cannot be opened ends the worker, and the service with it."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:  # its sentinel is the reading end of a pipe that the supervisor holds
        end_with(supervisor.sentinel)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the supervisor, which replaces one worker after another
    try:
        app = open_app(settings)
    except DrawpointError as error:
        sys.stderr.write(f"drawpoint serve: {error}\n")
        sys.exit(WORKER_CANNOT_START)
    tune_garbage_collector()
    return app


def warn_if_open(settings: Settings, listener: socket.socket) -> None:
    """Say so in the log where other machines may ask without a token."""
    host = listener.getsockname()[0]
    if not settings.token and not ipaddress.ip_address(host).is_loopback:
        LOG.warning(
            "anyone who can reach %s can read the stores: there is no token; set one with %s.", host, TOKEN_VARIABLE
        )


def tune_garbage_collector() -> None:
    """Keep the garbage collector from scanning the objects of start-up, which stops the event loop for 0.1 s each time.

    It runs rarely, too: with 1,024 connections each run scans the objects that they hold, none of which is garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def configure(app: Any, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for an application, or for workers that build theirs with `app()`.

    The logs of the service and of uvicorn go to stderr, a line each.
    """
    log = {"handlers": ["stderr"], "level": settings.log_level.upper(), "propagate": False}
    return uvicorn.Config(
        app,
        factory=settings.workers > 1,
        workers=settings.workers,
        http=bound_connections(settings),
        loop="drawpoint_service.server.listening:ServiceLoop",
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config={
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "loggers": {"drawpoint": log, "uvicorn": log},
        },
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_worker_healthcheck=WORKER_SECONDS,
    )
