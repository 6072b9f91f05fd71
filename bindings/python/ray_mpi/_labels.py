# SPDX-License-Identifier: Apache-2.0
"""Labels of nodes, as tasks and actors ask for them: syntax and errors as Ray's, and the form that the core takes.

The core wants a list of alternatives, the preferred one first, each a list of (label, operator, [values]).
"""

import re

IN, NOT_IN, EXISTS, DOES_NOT_EXIST = range(4)  # LabelOp of lease_messages.h

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_PREFIX = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_VALUE = re.compile(rf"(?P<negated>!?)(?:(?P<value>{_NAME})|(?:in)?\((?P<values>{_NAME}(?:, ?{_NAME})*)\))")
_WORDS = (
    "63 chars or less beginning and ending with an alphanumeric character ([a-z0-9A-Z]) with dashes (-), "
    "underscores (_), dots (.), and alphanumerics between."
)


def selector_error(selector):
    """What is wrong with the value of label_selector; None: nothing. TypeError for keys and values that are no text."""
    for key, value in (selector or {}).items():
        if not isinstance(key, str):
            raise TypeError(f"the keys of label_selector are strings, not {key!r}")
        wrong = _key_error(key) or _value_error(value)
        if wrong:
            return wrong
    return None


def _key_error(key):
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        return (
            f"Invalid label key prefix `{prefix}`. Prefix must be a series of DNS labels separated by dots (.), "
            "not longer than 253 characters in total."
        )
    if not re.fullmatch(_NAME, name):
        return f"Invalid label key name `{name}`. Name must be {_WORDS}"
    return None


def _value_error(value):
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise TypeError(f"the values of label_selector are strings, not {value!r}")
    if not _VALUE.fullmatch(value):
        return (
            f"Invalid label selector value `{value}`. The label selector value should contain optional operators and "
            f"a label value. Supported operators are: ! and in(). Value must be {_WORDS}"
        )
    return None


def fallback_error(strategies):
    """What is wrong with the value of fallback_strategy; None: nothing."""
    for strategy in strategies or ():
        if not isinstance(strategy, dict):
            return "Each element in fallback_strategy must be a dictionary."
        if not strategy:
            return "Empty dictionary found in `fallback_strategy`."
        for option in strategy:
            if option != "label_selector":
                return f"Unsupported option found: '{option}'. Only ['label_selector'] is currently supported."
        selector = strategy["label_selector"]
        if selector and not isinstance(selector, dict):
            return 'The value of "label_selector" must be a dictionary.'
        wrong = selector_error(selector)
        if wrong:
            return wrong
    return None


def rules_of_selector(selector):
    """What one label_selector asks of a node."""
    return [_rule(key, value) for key, value in sorted((selector or {}).items())]


def _rule(key, value):
    if value is None:
        raise ValueError(f"Label selector value must be string, but got {type(value)}")
    if value == "":
        return (key, IN, [""])
    match = _VALUE.fullmatch(value)
    values = match["values"]
    listed = [match["value"]] if values is None else [one.strip() for one in values.split(",")]
    return (key, NOT_IN if match["negated"] else IN, sorted(listed))


def _rules_of_expressions(expressions):
    from ray_mpi.util import scheduling_strategies as known

    rules = []
    for expression in sorted(expressions, key=lambda one: one.key):
        operator = expression.operator
        if isinstance(operator, (known.In, known.NotIn)):
            kind = IN if isinstance(operator, known.In) else NOT_IN
            rules.append((expression.key, kind, sorted(operator.values)))
        else:
            rules.append((expression.key, EXISTS if isinstance(operator, known.Exists) else DOES_NOT_EXIST, []))
    return rules


def alternatives(options):
    """What these options, and their scheduling_strategy, ask of a node's labels."""
    from ray_mpi.util import scheduling_strategies as known

    found = []
    if options.get("label_selector") or options.get("fallback_strategy"):
        found.append(rules_of_selector(options.get("label_selector")))
        found += [rules_of_selector(one["label_selector"]) for one in options.get("fallback_strategy") or ()]
    strategy = options.get("scheduling_strategy")
    if not isinstance(strategy, known.NodeLabelSchedulingStrategy):
        return found
    hard, soft = _rules_of_expressions(strategy.hard), _rules_of_expressions(strategy.soft)
    wanted = [hard + soft, hard] if soft else [hard]
    return [rules + more for rules in found for more in wanted] if found else wanted
