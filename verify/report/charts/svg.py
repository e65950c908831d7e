"""A matplotlib figure as inline SVG that takes its colours and fonts from the page.

matplotlib writes fixed colours. The charts draw with stand-in colours (:func:`paint`), and this
module turns each of them into the page's CSS variable, so that one picture serves the light, the
dark and the printed page. Everything else that it removes (fonts, metadata, a global style rule,
unused ids) would leak into the page or change from run to run.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAINTS = (
    "ink", "muted", "rule", "panel", "ok", "bad", "warn",
    "s1", "s2", "s3", "s4", "s5", "s6",
)  # fmt: skip
_STAND_IN = "#0a0b"
_SERIES_COLOURS = 6


@dataclass(frozen=True, kw_only=True)
class Form:
    """One width in which a picture is drawn: ``wide`` or ``narrow``."""

    name: str
    width: float
    font: float

    @property
    def narrow(self) -> bool:
        """Whether this is the form for a phone."""
        return self.name == "narrow"


WIDE = Form(name="wide", width=570, font=12.5)
NARROW = Form(name="narrow", width=350, font=12)


def paint(name: str) -> str:
    """Return the stand-in colour for the page's CSS variable ``--name``."""
    return f"{_STAND_IN}{_PAINTS.index(name) + 16:02x}"


def series_paint(index: int) -> str:
    """Return the stand-in colour of the ``index``-th series; colours repeat after six."""
    return paint(f"s{index % _SERIES_COLOURS + 1}")


def settings(form: Form) -> Any:
    """Return the matplotlib settings that every picture is drawn with."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "ortmill",
        "path.simplify": False,
        # A series name is data: "$" in it must not start a formula.
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": form.font,
        "axes.labelsize": form.font,
        "xtick.labelsize": form.font - 0.5,
        "ytick.labelsize": form.font - 0.5,
        "legend.fontsize": form.font - 0.5,
        "axes.edgecolor": paint("rule"),
        "axes.labelcolor": paint("muted"),
        "axes.linewidth": 1.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.axisbelow": True,
        "text.color": paint("ink"),
        "xtick.color": paint("rule"),
        "ytick.color": paint("rule"),
        "xtick.labelcolor": paint("muted"),
        "ytick.labelcolor": paint("muted"),
        "ytick.major.size": 0.0,
        "grid.color": paint("rule"),
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "legend.handlelength": 2.2,
        "legend.labelcolor": paint("ink"),
    }


def picture(
    build: Callable[[Form], Figure | None], *, key: str, label: str, description: str = ""
) -> Markup:
    """Draw a figure in both widths and join them; the page shows the one that fits.

    ``build`` draws it for one form; ``None`` means that there is nothing to draw, and the markup is
    empty. ``key``, letters and digits, is the prefix of every id: one per picture on a page.
    ``label`` and ``description`` are the text alternative.
    """
    import warnings

    import matplotlib as mpl

    parts = []
    for form in (WIDE, NARROW):
        with mpl.rc_context(settings(form)), warnings.catch_warnings():
            # Names may hold characters that matplotlib's font lacks; the page's fonts draw them.
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure = build(form)
            if figure is None:
                return Markup("")
            parts.append(
                inline(
                    figure, key=f"{key}-{form.name}", label=label, description=description,
                    form=form,
                )
            )  # fmt: skip
    return Markup("").join(parts)


def inline(figure: Figure, *, key: str, label: str, description: str, form: Form) -> Markup:
    """Turn one figure into ``<svg>`` markup for the middle of a page."""
    buffer = io.StringIO()
    nothing: Mapping[str, None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    return Markup(  # noqa: S704 - matplotlib escapes text; the label is escaped here
        _clean(buffer.getvalue(), key=key, alternative=_alternative(label, description), form=form)
    )


def _alternative(label: str, description: str) -> str:
    return f"{label}. {description}" if description else label


def _clean(text: str, *, key: str, alternative: str, form: Form) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(
        r"<([a-z]+)((?:\s[^<>]*)?)>",
        lambda match: f"<{match[1]}{_attributes(match[2])}>",
        text,
        flags=re.S,
    )
    text = _own_ids(text, key)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r"<g\s*/>", "", text)
    view_box = re.search(r'viewBox="([^"]*)"', text)
    head = (
        f'<svg class="{form.name}" role="img" aria-label="{escape(alternative)}" '
        f'viewBox="{view_box[1] if view_box else "0 0 1 1"}">'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: head, text, count=1)


def _attributes(text: str) -> str:
    """Rewrite one tag's attributes: colours, fonts and shorter numbers (never its text)."""
    text = re.sub(
        rf"{_STAND_IN}([0-9a-f]{{2}})",
        lambda match: f"var(--{_PAINTS[int(match[1], 16) - 16]})",
        text,
    )
    text = re.sub(r"font-family: [^;\"]+;?\s*", "", text)
    text = re.sub(r'\s*transform="rotate\(-0 [^)]*\)"', "", text)
    text = re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", text)
    return re.sub(r"\s*\n\s*", " ", text)


def _own_ids(text: str, key: str) -> str:
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(
        r'\sid="([^"]*)"', lambda match: f' id="{key}-{match[1]}"' if match[1] in used else "", text
    )
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    return re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{key}-\1"', text)
