"""The server: the page, the addresses of its pictures and files, and its limits."""

import os
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Literal

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount

import twostagealign as tsa
from twostagealign.app.page import Page, static
from twostagealign.app.record import record
from twostagealign.app.restorers import Device, Restorers
from twostagealign.app.session import Session
from twostagealign.app.sessions import Sessions
from twostagealign.app.worker import Worker

FILE_BYTES = 512 * 2**20
"""Largest size of one uploaded file."""

_LOCAL = ("127.0.0.1", "localhost")
_PORTS = 20  # that are tried, from the wanted one upwards
_NEVER = {"Cache-Control": "no-store"}
_FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}  # an address holds a version


def serve(host: str, port: int, checkpoints: Sequence[str], device: Device) -> None:
    """Serve the page until the process is interrupted.

    Args:
        host: address to listen at.
        port: port to listen at, or, where it is taken, the next free one; 0: any free one.
        checkpoints: names or files of the checkpoints that can be chosen.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: no port is free, or the address is not one of this computer.
    """
    listener = _listen(host, port)
    # uvicorn shuts down on SIGTERM, then raises it again: as an interrupt it does not end the process before its files
    # are deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="twostagealign-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = f"{folder}/uploads"
        sessions, worker = Sessions(Path(folder) / "sessions"), Worker()
        app = make_app(sessions, worker, Restorers(checkpoints, device))
        if host in _LOCAL:
            # Refuse other host names: another site could make its own name point to this machine (DNS rebinding).
            app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_LOCAL))
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{listener.getsockname()[1]}  (Ctrl+C ends it)", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        try:
            _Server(config, sessions).run(sockets=[listener])
        finally:
            sessions.close_all()
            worker.close()


def make_app(sessions: Sessions, worker: Worker, restorers: Restorers) -> FastAPI:
    """Make the application.

    Args:
        sessions: the tabs that are open.
        worker: does the work.
        restorers: the checkpoints.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    saving = Lock()  # one file at a time, which bounds the memory

    def find(key: str) -> Session:
        session = sessions.of_key(key)
        if session is None:
            raise HTTPException(404)
        return session

    @app.get("/picture/{key}/{side}/{level}/{row}/{column}.png")
    def picture(
        key: str,
        side: Literal["before", "after"],
        level: int,
        row: int,
        column: int,
        b: float | Literal["auto"],
        t: bool,
        s: float = 1,
    ) -> Response:
        try:
            content = find(key).tile(side, level, row, column, tsa.Look(s, b, None if t else "none"))
        except ValueError as error:
            raise HTTPException(404, str(error)) from None
        return Response(content, media_type="image/png", headers=_FOREVER)

    @app.get("/thumbnail/{key}/{index}.png")
    def thumbnail(key: str, index: int) -> Response:
        try:
            return Response(find(key).thumbnail(index), media_type="image/png", headers=_FOREVER)
        except ValueError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/matches/{key}.json")
    def matches(key: str) -> Response:
        try:
            return JSONResponse(find(key).matches())
        except ValueError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/download/{key}/{kind}")
    def download(key: str, kind: str) -> Response:
        session = find(key)
        try:
            if kind == "json" and session.result:
                name = {"Content-Disposition": 'attachment; filename="restored.json"'}
                return JSONResponse(record(session), headers=_NEVER | name)
            with saving:
                path = session.save(kind)
        except (ValueError, tsa.UserError) as error:
            raise HTTPException(404, str(error)) from None
        return FileResponse(path, filename=path.name, headers=_NEVER)

    blocks = Page(sessions, worker, restorers).build()
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=static("page.css"),
        max_file_size=FILE_BYTES,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
    )


class _Server(uvicorn.Server):
    """A server that ends what its pages wait for, before it waits for them."""

    def __init__(self, config: uvicorn.Config, sessions: Sessions) -> None:
        super().__init__(config)
        self._sessions = sessions

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._sessions.close_all()
        for route in self.config.app.routes:  # type: ignore[union-attr]
            if isinstance(route, Mount):
                route.app.stop_event.set()  # type: ignore[attr-defined]  # Gradio's connection of each tab
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """Open a socket at the first free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + _PORTS, 65536)) if port else [0]:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen()  # a browser that is faster than the server waits
        except OSError as error:
            listener.close()
            problem = error
        else:
            return listener
    raise tsa.UserError(f"--host {host}, --port {port}: cannot be listened at ({problem.strerror})")
