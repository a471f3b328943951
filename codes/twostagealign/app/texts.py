"""What the page says: the line about what is going on, the links, and the table."""

from html import escape
from typing import Any

from twostagealign.app.record import command, facts
from twostagealign.app.session import Session
from twostagealign.app.worker import Job

_LINKS = {"png": "PNG, 16 bits", "tif": "TIFF, 16 bits", "dng": "Linear DNG", "json": "What was done (JSON)"}
"""Kind of each file that a result is downloaded as, and what its link says."""


def status(message: str, detail: str = "", fraction: float | None = None, error: bool = False) -> dict[str, Any]:
    """Describe what is going on, as status.js shows it.

    Args:
        message: one line, which screen readers read out.
        detail: what changes often, which they do not read out.
        fraction: finished part of the work, 0 to 1; None: unknown.
        error: whether something went wrong.
    """
    return {"message": message, "detail": detail, "fraction": fraction, "error": error}


def status_of(job: Job, before: int, ended: bool) -> dict[str, Any]:
    """Describe a job.

    Args:
        job: the job.
        before: number of jobs that it waits for.
        ended: whether it has ended.
    """
    if job.error:
        return status(job.error, error=True)
    if job.stopped:
        return status("Stopped." if ended else "Stopping after the next tile ...")
    if ended:
        return status(job.message)
    if before:
        return status(f"Waiting for {before} other {'request' if before == 1 else 'requests'}.")
    message = f"{job.message.capitalize()} ..."
    if not job.done:
        return status(message)
    left = job.seconds_left
    time = "" if left is None else f", about {int(left) // 60}:{int(left) % 60:02d} left"
    return status(message, f"{job.done} of {job.total} tiles{time}", job.done / job.total)


def downloads_html(session: Session) -> str:
    """Links to the result's files; empty if there is no result."""
    if not session.result:
        return ""
    links = (
        f'<li><a href="download/{session.key}/{kind}" download>{escape(text)}</a></li>' for kind, text in _LINKS.items()
    )
    return f'<nav aria-label="Downloads"><ul class="tsa-downloads">{"".join(links)}</ul></nav>'


def facts_html(session: Session) -> str:
    """Table of what was read and measured, and the command line; empty if there is no burst."""
    known = facts(session)
    if not known:
        return ""
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in known)
    return (
        f'<section class="tsa-facts" aria-label="About this burst"><table>{"".join(rows)}</table>'
        f"<h2>The same on the command line</h2><pre><code>{escape(command(session))}</code></pre></section>"
    )
