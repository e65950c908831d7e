"""junit.xml for CI dashboards; only a passed check is a test case without a child.

A required check that is inconclusive or not-run is a failure there too, one that is not required
is ``skipped`` with its reason: a dashboard that shows only green and red must not show it green.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from .document import CheckEntry, Document

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(document: Document) -> str:
    """Return the document's checks as JUnit XML."""
    checks = document.checks
    kinds = [_kind(check) for check in checks]
    suite = ET.Element(
        "testsuite",
        name=f"ortmill verify ({document.policy.name})",
        tests=str(len(checks)),
        failures=str(kinds.count("failure")),
        errors="0",
        skipped=str(kinds.count("skipped")),
        time=f"{document.seconds:.3f}",
        timestamp=document.created.removesuffix("Z"),
        hostname=document.host.kind,
    )
    for check, kind in zip(checks, kinds, strict=True):
        case = ET.SubElement(
            suite,
            "testcase",
            classname=check.id.split(".")[0],
            name=check.id,
            time=f"{check.seconds:.3f}",
        )
        if kind:
            need = "required" if check.required else "not required"
            message = _clean(f"{check.status} ({need}): {check.summary}")
            child = ET.SubElement(case, kind, message=message)
            child.text = _clean(check.hint)
        ET.SubElement(case, "system-out").text = _clean(
            f"{check.title}: {check.summary} "
            f"[measured {check.measured} {check.unit}, limit {check.limit}]"
        )
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _kind(check: CheckEntry) -> str:
    if check.status == "passed":
        return ""
    if check.status == "failed" or check.required:
        return "failure"
    return "skipped"


def _clean(text: str) -> str:
    """Drop the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
