# SPDX-License-Identifier: Apache-2.0
"""Puts the rows of a partial run of bench/compare into the report of a full one: what was not measured stays."""

import re

KEYED = ("", "What each row does, and how to run it alone", "Notes")  # sections whose lines have a row's name in front


def merge(old, new, order):
    """Both reports as text; order: the names of all rows, as they are listed."""
    before, after = _sections(old), _sections(new)
    for heading, lines in after.items():
        if heading not in before:
            before[heading] = lines
        elif heading in KEYED:
            before[heading] = _merge_lines(before[heading], lines, order)
        else:
            before[heading] = lines
    before[""] = [_provenance(line, after[""]) for line in before[""]]
    notes = before.pop("Notes", None)  # last
    if notes is not None:
        before["Notes"] = notes
    return "\n".join(line for lines in before.values() for line in lines).rstrip() + "\n"


def _sections(text):
    found, heading = {"": []}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        found.setdefault(heading, []).append(line)
    return found


def _name(line):
    match = re.match(r"(?:\| |- )(\w+)(?: \||:)", line)
    return match and match[1]


def _merge_lines(old, new, order):
    fresh = {_name(line): line for line in new if _name(line) in order}
    out = [fresh.pop(_name(line), line) for line in old]
    for name, line in fresh.items():
        before = [i for i, other in enumerate(out) if _name(other) in order and order.index(_name(other)) < order.index(name)]
        last = [i for i, other in enumerate(out) if other.strip()]
        out.insert((before or last)[-1] + 1, line)
    return out


def _provenance(line, head):
    """The line that says what wrote the report, with the partial run at its end."""
    if not line.startswith("Written by "):
        return line
    command, date = re.match(r"Written by (`.*?`) on ([\d-]+)", next(x for x in head if x.startswith("Written by "))).group(1, 2)
    others = [part for part in line.split("; ") if command not in part]
    return "; ".join([*others, f"rows of {command} on {date}"])


def section(text, name):
    """The lines of the section of that name; none if there is none."""
    return _sections(text).get(name, [])


def replace_section(text, section):
    """The report with these lines, the first of which is a heading, in the place of the section of that name."""
    sections = _sections(text)
    sections[section[0][3:]] = section
    notes = sections.pop("Notes", None)  # last
    if notes is not None:
        sections["Notes"] = notes
    return "\n".join(line for lines in sections.values() for line in lines).rstrip() + "\n"
