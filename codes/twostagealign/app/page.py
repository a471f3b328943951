"""The page: its controls, and what happens when they are used."""

import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

import twostagealign as tsa
from twostagealign.app.restorers import Restorers
from twostagealign.app.session import WELCOME, Choice, Session
from twostagealign.app.sessions import Sessions
from twostagealign.app.texts import downloads_html, facts_html, status, status_of
from twostagealign.app.worker import Job, Worker

_EXAMPLES = ("astronaut", "coffee", "chelsea")
_CLICKED = "the clicked one"
_POLL = 0.4  # seconds between two looks at a running job
_STATIC = importlib.resources.files("twostagealign.app") / "static"

_OUTPUTS = 9  # of the events that work

Updates = list[Any]


class Page:
    """Builds the page, and answers its events.

    Args:
        sessions: the tabs that are open.
        worker: does the work.
        restorers: the checkpoints.
    """

    def __init__(self, sessions: Sessions, worker: Worker, restorers: Restorers) -> None:
        self._sessions = sessions
        self._worker = worker
        self._restorers = restorers

    def build(self) -> gr.Blocks:
        """Build the page."""
        names = list(self._restorers.names)
        with gr.Blocks(
            title="TwoStageAlign", analytics_enabled=False, delete_cache=(300, 1800), fill_width=True
        ) as page:
            gr.HTML(static("intro.html"), apply_default_css=False)
            with gr.Row(equal_height=False, elem_id="main"):
                with gr.Column(scale=1, min_width=300):
                    label = "Raw files or pictures of one burst"
                    files = gr.File(label=label, file_count="multiple", height=180, elem_id="files")
                    gr.HTML("Or try an example:", apply_default_css=False)
                    with gr.Row():
                        examples = [gr.Button(name, size="sm", min_width=80) for name in _EXAMPLES]
                    noise = gr.Radio(["high", "low"], value="high", label="Noise that examples and pictures are given")
                    checkpoint = gr.Dropdown(names, value=names[0], label="Checkpoint")
                    frames = gr.Slider(1, Choice.frames, Choice.frames, step=1, label="Frames to restore from")
                    reference = gr.Radio(
                        ["sharpest", "middle", _CLICKED],
                        value="sharpest",
                        label="Frame to restore",
                        elem_id="reference",
                    )
                    tiles = gr.Radio(["best", "as in the paper's protocol"], value="best", label="Tiles")
                    with gr.Row():
                        start = gr.Button(
                            "Restore", variant="primary", interactive=False, elem_id="restore", min_width=90
                        )
                        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", min_width=90)
                with gr.Column(scale=3, min_width=320):
                    line = _component("status", status(WELCOME))
                    picture = _component("viewer")
                    with gr.Row():
                        strength = gr.Slider(0, 1, 1, step=0.01, label="Strength", min_width=150, elem_id="strength")
                        brightness = gr.Slider(-4, 4, 0, step=0.1, label="Brightness, EV", min_width=150)
                    with gr.Row():
                        automatic = gr.Checkbox(False, label="Automatic brightness", elem_id="automatic", min_width=150)
                        tone = gr.Checkbox(True, label="Tone curve", min_width=150)
                    downloads = gr.HTML(apply_default_css=False, elem_id="downloads")
                    thumbnails = _component("frames")
                    facts = gr.HTML(apply_default_css=False, elem_id="facts")

            outputs = [line, picture, thumbnails, downloads, facts, start, stop, frames, reference]
            settings = [checkpoint, frames, tiles, noise]
            look: list[Any] = [strength, brightness, automatic, tone]
            quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
            files.upload(self._upload, [files, *settings], outputs, **quiet).then(lambda: None, None, files, **quiet)
            for button in examples:
                button.click(self._example, [button, *settings], outputs, **quiet)
            thumbnails.select(self._choose, settings, outputs, trigger_mode="always_last", **quiet)
            frames.release(self._read, settings, outputs, trigger_mode="always_last", **quiet)
            reference.input(self._refer, [reference, *settings], outputs, trigger_mode="always_last", **quiet)
            noise.input(self._read, settings, outputs, trigger_mode="always_last", **quiet)
            start.click(self._restore, settings, outputs, **quiet)
            stop.click(self._stop, None, line, queue=False, **quiet)
            for control in look:
                control.change(self._look, look, [picture, facts, brightness], trigger_mode="always_last", **quiet)
            page.unload(self._unload)
        return page

    # Events

    def _upload(self, request: gr.Request, files: list[str], *settings: Any) -> Iterator[Updates]:
        paths = [Path(file) for file in dict.fromkeys(files)]  # a file that is dropped twice has one path

        def discard() -> None:
            for path in paths:
                path.unlink(missing_ok=True)

        yield from self._work(request, settings, lambda session: partial(session.open_uploads, paths), discard)

    def _example(self, request: gr.Request, name: str, *settings: Any) -> Iterator[Updates]:
        yield from self._work(request, settings, lambda session: partial(session.open_example, name))

    def _choose(self, request: gr.Request, event: gr.EventData, *settings: Any) -> Iterator[Updates]:
        yield from self._work(request, settings, lambda session: session.read, reference=int(event.index))

    def _read(self, request: gr.Request, *settings: Any) -> Iterator[Updates]:
        yield from self._work(request, settings, lambda session: session.read)

    def _refer(self, request: gr.Request, reference: str, *settings: Any) -> Iterator[Updates]:
        burst = self._session(request).burst
        chosen: Any = reference
        if reference == _CLICKED:
            chosen = burst.reference if burst else "sharpest"
        yield from self._work(request, settings, lambda session: session.read, reference=chosen)

    def _restore(self, request: gr.Request, *settings: Any) -> Iterator[Updates]:
        yield from self._work(request, settings, lambda session: partial(session.restore, self._restorers))

    def _stop(self, request: gr.Request) -> dict[str, Any]:
        session = self._session(request)
        if session.job:
            session.job.stop()
        return status("Stopping after the next tiles ...")

    def _look(self, request: gr.Request, strength: float, brightness: float, automatic: bool, tone: bool) -> Updates:
        session = self._session(request)
        session.look = tsa.Look(strength, "auto" if automatic else brightness, None if tone else "none")
        return [session.view(), facts_html(session), gr.Slider(interactive=not automatic)]

    def _unload(self, request: gr.Request) -> None:
        self._sessions.close(_tab(request))

    def _session(self, request: gr.Request) -> Session:
        try:
            return self._sessions.of_tab(_tab(request))
        except tsa.UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def _work(
        self,
        request: gr.Request,
        settings: Sequence[Any],
        work: Callable[[Session], Callable[[Job], None]],
        at_end: Callable[[], object] = lambda: None,
        **choice: Any,
    ) -> Iterator[Updates]:
        """Do work for a tab, and tell what the page shows meanwhile and in the end.

        Args:
            request: a request of the tab.
            settings: checkpoint, number of frames, kind of tiles and noise, as the page has them.
            work: given the session, returns the work.
            at_end: called when the work has ended, also if it never began.
            choice: other fields of the session's `Choice` that change.
        """
        session = self._session(request)
        checkpoint, frames, tiles, noise = settings
        session.choice = replace(
            session.choice,
            checkpoint=checkpoint,
            frames=int(frames),
            by_protocol=tiles != "best",
            noise=noise,
            **choice,
        )
        job = Job(work(session), at_end)
        session.begin(job)
        ended = self._worker.submit(job)
        shown: list[Any] = [None] * _OUTPUTS
        try:
            while not ended(_POLL if shown[0] else 0) and session.job is job and not session.closed:
                state = self._state(session, job, ended=False)
                yield _changes(shown, state)
                shown = state
        finally:
            if not ended(0):
                job.stop()  # the browser has gone, or other work was asked for
        if session.job is job:
            yield _changes(shown, self._state(session, job, ended=True))

    def _state(self, session: Session, job: Job, ended: bool) -> list[Any]:
        """What the page shows: the values of its outputs, in their order."""
        line = status_of(job, self._worker.before(job), ended)
        can_start = ended and session.burst is not None
        most = max(len(session.source.names) if session.source else 0, Choice.frames)
        frames = (most, min(session.choice.frames, most))  # Gradio refuses all events if a value is beyond its limit
        contents = [session.view(), session.frames(), downloads_html(session), facts_html(session)]
        reference = _CLICKED if isinstance(session.choice.reference, int) else session.choice.reference
        return [line, *contents, can_start, not ended, frames, reference]


def static(name: str) -> str:
    """Read a file of the page."""
    return (_STATIC / name).read_text(encoding="utf-8")


def _component(name: str, value: Any = None) -> gr.HTML:
    """Make a component of NAME.html, NAME.css and NAME.js."""
    return gr.HTML(
        value or {},
        html_template=static(f"{name}.html"),
        css_template=static(f"{name}.css"),
        js_on_load=static(f"{name}.js"),
        apply_default_css=False,
        elem_id=name,
    )


def _changes(shown: list[Any], state: list[Any]) -> Updates:
    """Tell the page what has changed between two states."""
    *_, can_start, can_stop, (most, frames), reference = state
    updates = [
        *state[:5],
        gr.Button(interactive=can_start),
        gr.Button(interactive=can_stop),
        gr.Slider(maximum=most, value=frames),
        gr.Radio(value=reference),
    ]
    return [gr.skip() if old == new else update for old, new, update in zip(shown, state, updates, strict=True)]


def _tab(request: gr.Request) -> str:
    """Gradio's name of the tab that a request comes from."""
    return str(request.session_hash)
