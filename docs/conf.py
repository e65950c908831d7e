"""The documentation as a site (`nox -s docs`), from the Markdown that a forge shows too."""

project = "ortmill"
extensions = ["myst_parser"]
exclude_patterns = ["requirements.*", "_site"]
html_theme = "furo"
html_title = "ortmill"
html_show_copyright = False
html_static_path: list[str] = []
# Headings get the anchors that a forge gives them, so that one link serves both.
myst_heading_anchors = 4
# A console block holds a prompt or a whole session; nobody lexes it.
suppress_warnings = ["misc.highlighting_failure"]
