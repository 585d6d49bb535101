"""The report of a trial as JUnit's XML, which CI systems show: a test case for each step, the console at the end."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .talk import readable
from .trial import Report


def junit(report: Report) -> bytes:
    """The XML. Steps that were not begun are skipped; the console is the suite's ``system-out``."""
    total_s = f"{sum(step.seconds for step in report.steps):.3f}"
    counts = {
        "tests": str(len(report.steps) + len(report.left)),
        "failures": "0" if report.passed else "1",
        "errors": "0",
        "skipped": str(len(report.left)),
        "time": total_s,
    }
    top = Element("testsuites", counts)
    suite = SubElement(top, "testsuite", {"name": "swagent lab test-update", **counts})
    properties = SubElement(suite, "properties")
    for name, value in (("device", report.device), ("image", report.image)):
        SubElement(properties, "property", {"name": name, "value": _allowed(value)})
    for step in report.steps:
        case = _case(suite, report, step.name, step.seconds)
        if step.problem:
            failure = SubElement(case, "failure", {"message": _allowed(step.problem)})
            failure.text = _allowed(step.output)
        elif step.output:
            SubElement(case, "system-out").text = _allowed(step.output)
    for name in report.left:
        SubElement(_case(suite, report, name, 0.0), "skipped")
    SubElement(suite, "system-out").text = _allowed(readable(report.console))
    indent(top)
    xml: bytes = tostring(top, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _case(suite: Element, report: Report, name: str, seconds: float) -> Element:
    facts = {"classname": _allowed(report.device), "name": name, "time": f"{seconds:.3f}"}
    return SubElement(suite, "testcase", facts)


def _allowed(text: str) -> str:
    """Without what XML 1.0 cannot hold (its production 2)."""
    return "".join(
        char
        for char in text
        if char in "\t\n" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff"
    )
