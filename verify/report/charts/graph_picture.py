"""The coverage picture: every node of a graph as one cell, by provider and partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ..document import GraphNode

_CELL = 16
_GAP = 3
_COLUMNS = 25
_MOST_CELLS = 5000
_COLOURS = 6


@dataclass(frozen=True, kw_only=True)
class Left:
    """Nodes that stayed behind for one reason."""

    op: str
    reason: str
    names: tuple[str, ...]


def left_behind(nodes: Sequence[GraphNode]) -> tuple[Left, ...]:
    """Group the nodes that stayed behind by operator and reason, in the graph's order."""
    groups: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        if not node.taken:
            groups.setdefault((node.op, node.reason or ""), []).append(node.name)
    return tuple(
        Left(op=op, reason=reason, names=tuple(names)) for (op, reason), names in groups.items()
    )


def legend(nodes: Sequence[GraphNode]) -> tuple[tuple[str, str], ...]:
    """Return (style class, words) for each kind of cell; colours repeat after six partitions."""
    numbers = sorted({node.partition or 0 for node in nodes if node.taken})
    found = [(_kind(number), f"partition {number}") for number in numbers[:_COLOURS]]
    if len(numbers) > _COLOURS:
        found.append(("", f"{len(numbers)} partitions in all, colours repeat"))
    if any(not node.taken for node in nodes):
        found.append(("left", "left on the CPU"))
    return tuple(found)


def node_picture(nodes: Sequence[GraphNode], *, title: str) -> Markup:
    """Draw the nodes row by row in the graph's order.

    A node that CoreML took is a filled cell, coloured by partition; one that stayed behind is a
    hollow cell with a stroke through it. Each cell's ``<title>`` names its operator.
    """
    nodes = nodes[:_MOST_CELLS]
    if not nodes:
        return Markup("")
    columns = _COLUMNS if len(nodes) <= 40 * _COLUMNS else 2 * _COLUMNS
    rows = -(-len(nodes) // columns)
    side = _CELL - _GAP
    cells, strokes = [], []
    for index, node in enumerate(nodes):
        x, y = (index % columns) * _CELL + 1, (index // columns) * _CELL + 1
        kind = _kind(node.partition or 0) if node.taken else "left"
        cells.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{side}" height="{side}" rx="2">'
            f"<title>{escape(_words(node))}</title></rect>"
        )
        if not node.taken:
            strokes.append(f"M{x + 2} {y + side - 2}l{side - 4} {4 - side}")
    taken = sum(node.taken for node in nodes)
    partitions = len({node.partition for node in nodes if node.taken})
    label = (
        f"{title}: {taken} of {len(nodes)} nodes taken by CoreML in {partitions} "
        f"partition{'' if partitions == 1 else 's'}; {len(nodes) - taken} left on the CPU"
    )
    return Markup(  # noqa: S704 - every text above went through escape
        f'<svg class="nodes" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {columns * _CELL} {rows * _CELL}">{"".join(cells)}'
        f'<path class="stroke" d="{"".join(strokes)}"/></svg>'
    )


def _kind(partition: int) -> str:
    return f"p{partition % _COLOURS + 1}"


def _words(node: GraphNode) -> str:
    if not node.taken:
        where = node.provider or "not taken"
    elif node.partition is None:
        where = "CoreML"
    else:
        where = f"CoreML, partition {node.partition}"
    reason = f": {node.reason}" if node.reason and not node.taken else ""
    return f"{node.op} {node.name} ({where}){reason}".strip()
