"""What was read, estimated, restored and measured: for the page's table, as JSON, and as a command line."""

import shlex
from dataclasses import asdict
from typing import Any

import twostagealign as tsa
from twostagealign.app.session import Choice, Session


def facts(session: Session) -> list[tuple[str, str]]:
    """List what is known about the burst of a session: names and values; empty if there is none."""
    if not (session.source and session.burst and session.comparison):
        return []
    burst, source, (height, width) = session.burst, session.source, session.comparison.size
    metadata, noise, exposure = burst.metadata, burst.noise, burst.metadata.exposure
    origin = metadata.sources.get("noise", "simulated" if source.simulated else "")
    reference = session.choice.reference
    sharpest = reference == "sharpest" and not source.simulated
    why = "chosen by you" if isinstance(reference, int) else "the sharpest one" if sharpest else "the middle one"
    used = ", ".join(map(session.name, burst.window))
    known = [
        ("Camera", " ".join(filter(None, (metadata.make, metadata.model, metadata.lens)))),
        ("Exposure", _exposure(exposure.seconds, exposure.iso, exposure.f_number)),
        ("Size", f"{width} × {height} pixels, {width * height / 1e6:.1f} megapixels"),
        ("Reference frame", f"{session.name(burst.reference)}, {why}"),
        ("Frames", f"{len(burst)} of {len(source.names)}: {used}"),
        ("Noise", f"shot {noise.shot:.3g}, read {noise.read:.3g}" + (f" ({origin})" if origin else "")),
    ]
    if session.look.brightness == "auto":
        known.append(("Brightness", f"automatic, {session.comparison.automatic_brightness:+.1f} EV"))
    if session.result and session.result.quality:
        quality = session.result.quality
        known.append(("Against the truth", f"{quality.psnr:.2f} dB, SSIM {quality.ssim:.4f}"))
    known += [("Left out", f"{name}: {reason}") for name, reason in source.left_out]
    known += [("Note", note) for note in session.notes]
    return [(name, value) for name, value in known if value]


def command(session: Session) -> str:
    """Return the command lines that restore the same picture; empty if there is no burst."""
    if not (session.source and session.burst):
        return ""
    choice = session.made_by if session.result else session.choice
    parts = ["twostagealign restore", f"--input {session.source.input}", "--output restored"]
    parts += [f"--simulate {choice.noise}"] if session.source.simulated else []
    parts += [f"--frames {len(session.burst)} --reference {session.burst.reference}"]
    parts += [f"--checkpoint {shlex.quote(choice.checkpoint)}"] if choice.checkpoint != Choice.checkpoint else []
    parts += ["--tiling protocol"] if choice.by_protocol else []
    look = session.look
    parts += [f"--strength {look.strength:g}"] if look.strength < 1 else []
    parts += [f"--brightness {look.brightness}"] if look.brightness else []
    parts += [f"--tone {look.tone}"] if look.tone else []
    return session.source.preparation + " ".join(parts)


def record(session: Session) -> dict[str, Any]:
    """Return what was done, as JSON values. There is a result."""
    assert session.result
    assert session.burst
    return {
        "twostagealign": tsa.__version__,
        "checkpoint": session.made_by.checkpoint,
        "tiling": asdict(session.made_by.tiling),
        "reference": session.name(session.result.reference),
        "inputs": [
            {**session.burst.describe(index), "name": session.name(index)}
            for index in sorted(set(session.burst.window))
        ],
        "look": asdict(session.look),
        "facts": [{"name": name, "value": value} for name, value in facts(session)],
        "command": command(session),
    }


def _exposure(seconds: float | None, iso: float | None, f_number: float | None) -> str:
    """Describe an exposure: what is known of it."""
    parts = []
    if seconds:
        parts.append(f"{seconds:g} s" if seconds >= 0.3 else f"1/{1 / seconds:.0f} s")
    if iso:
        parts.append(f"ISO {iso:g}")
    if f_number:
        parts.append(f"f/{f_number:g}")
    return ", ".join(parts)
