"""``docs/reference.md``: exit codes, limits, the recipe's fields and every error, from the code."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from build.errors import BuildError
from build.recipe.schema import SCHEMAS, schema_text
from verify.commands.command import EXIT_CODES
from verify.errors import VerifyError
from verify.policy.limits import Limits

HEAD = """\
# Reference

Written by `nox -s gen` from the code; a test compares.
The commands are in [commands.md](commands.md), the checks in [verification.md](verification.md),
the fields of `verify.json` in [verification-report.md](verification-report.md).
"""
_GAP = "…"


@dataclass(frozen=True, order=True)
class Message:
    """One error that the code raises: its kind, its sentence and its hint, with gaps."""

    sentence: str
    hint: str
    kind: str
    code: int

    @property
    def anchor(self) -> str:
        """Stays while the sentence, its hint and its kind do."""
        words = re.findall(r"[a-z0-9]+", self.sentence.lower())[:6]
        whole = f"{self.sentence}{self.hint}{self.kind}".encode()
        return "-".join(("e", *words, hashlib.sha256(whole).hexdigest()[:6]))


def page(root: Path) -> str:
    """Return the whole page.

    Parameters
    ----------
    root : Path
        The checkout, whose sources are read for the errors.
    """
    return "\n".join([HEAD, *_exit_codes(), *_limits(), *_recipe(), *_errors(root)]) + "\n"


def kinds(package: Path, of: type[BuildError] | type[VerifyError]) -> Mapping[str, tuple[str, int]]:
    """Return title and exit code of a package's classes of errors, by name, as its sources say.

    Read and not imported: what some test has loaded already must not change the page.
    """
    found = {of.__name__: (of.title, of.exit_code)}
    todo = [node for tree in _sources(package) for node in ast.walk(tree)]
    classes = [node for node in todo if isinstance(node, ast.ClassDef)]
    while ready := [each for each in classes if each.name not in found and _base(each) in found]:
        for each in ready:
            said = {
                statement.targets[0].id: ast.literal_eval(statement.value)
                for statement in each.body
                if isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Name)
                and statement.targets[0].id in ("title", "exit_code")
            }
            title, code = found[_base(each)]
            found[each.name] = (said.get("title", title), said.get("exit_code", code))
    return found


def _base(node: ast.ClassDef) -> str:
    return node.bases[0].id if node.bases and isinstance(node.bases[0], ast.Name) else ""


def _sources(package: Path) -> Iterator[ast.Module]:
    for file in sorted(package.rglob("*.py")):
        yield ast.parse(file.read_text(encoding="utf-8"))


def messages(root: Path) -> list[Message]:
    """Return every error that the code spells out, sorted by its sentence."""
    found = set()
    for package, top in (("build", BuildError), ("verify", VerifyError)):
        known = kinds(root / package, top)
        for node in (node for tree in _sources(root / package) for node in ast.walk(tree)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                kind = known.get(node.func.id)
                said = _text(node.args[0]) if kind and node.args else ""
                if kind and said.strip(f" {_GAP}.:"):
                    hints = (each.value for each in node.keywords if each.arg == "hint")
                    found.add(Message(said, _text(next(hints, ast.Constant(""))), *kind))
    return sorted(found, key=lambda each: (each.sentence.lower(), each))


def _text(node: ast.expr) -> str:
    """Return a string's text, with a gap for what only the run knows."""
    if isinstance(node, ast.Constant):
        return " ".join(str(node.value).split()) if str(node.value).strip() else ""
    if isinstance(node, ast.JoinedStr):
        parts = [str(v.value) if isinstance(v, ast.Constant) else _GAP for v in node.values]
        return " ".join("".join(parts).split())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_text(node.left)} {_text(node.right)}".strip()
    return _GAP


def _errors(root: Path) -> Iterator[str]:
    yield "\n## Error messages\n"
    yield f"`{_GAP}` is what only the run knows: a path, a name, a number.\n"
    yield "| what it says | what to do | kind, exit code |\n|---|---|---|"
    for one in messages(root):
        cells = (_cell(one.sentence), _cell(one.hint) or "–", f"{one.kind}, {one.code}")
        yield f'| <a id="{one.anchor}"></a>{cells[0]} | {cells[1]} | {cells[2]} |'


def _cell(text: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|*_\[\]\\])", r"\\\1", safe) if "`" not in safe else safe.replace("|", r"\|")


def _exit_codes() -> Iterator[str]:
    yield "\n## Exit codes\n"
    yield "`build`:\n\n| code | kind | when |\n|---|---|---|\n| 0 | | done |"
    for kind in sorted((BuildError, *BuildError.__subclasses__()), key=lambda each: each.exit_code):
        yield f"| {kind.exit_code} | {kind.title} | {(kind.__doc__ or '').splitlines()[0]} |"
    yield "\n`verify`:\n\n| code | when |\n|---|---|"
    for line in EXIT_CODES.splitlines()[1:]:
        code, said = line.split(maxsplit=1)
        yield f"| {code} | {said} |"


def _limits() -> Iterator[str]:
    yield "\n## Limits of a policy\n"
    yield "| name | a check passes | default | may be |\n|---|---|---|---|"
    for each in fields(Limits):
        low, high = (each.metadata.get(name) for name in ("min", "max"))
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        relation = each.metadata.get("relation")
        how = f"at {relation.split()[-1]} this" if relation else "a setting"
        default = "" if each.default is MISSING else str(each.default)
        yield f"| `{each.name}` | {how} | {default} | {bounds} |"


def _recipe() -> Iterator[str]:
    yield "\n## Fields of a recipe\n"
    yield "The format with examples is in [recipe.md](recipe.md); these are all of its tables.\n"
    yield "What is not needed may also come from a file that the recipe includes."
    for name in SCHEMAS:
        schema = json.loads(schema_text(name))
        for title, table in {schema.get("title", name): schema, **schema.get("$defs", {})}.items():
            if table.get("properties"):
                yield f"\n### {title}\n"
                yield from _fields(table)


def _fields(table: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | type | needed |\n|---|---|---|"
    needed = table.get("required", ())
    for name, field in table["properties"].items():
        default = field.get("default")
        absent = "no" if default in (None, [], {}, "") else f"no: `{json.dumps(default)}`"
        yield f"| `{name}` | {_cell(_kind(field))} | {'yes' if name in needed else absent} |"


def _kind(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    for union in ("anyOf", "oneOf"):
        if union in field:
            return " or ".join(dict.fromkeys(_kind(each) for each in field[union]))
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"table of {_kind(field['additionalProperties'])}"
    return {"string": "text", "boolean": "true or false", "null": "nothing"}.get(kind, kind)
