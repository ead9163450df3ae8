"""What was found beside what was typed: only differences are worth typing."""

from dataclasses import replace
from enum import Enum
from typing import Any

from ptycho.config.choices import DataSource
from ptycho.config.config import DataConfig
from ptycho.report.diagnosis import Finding, Weight


def typed_value(data: DataConfig, name: str) -> Any:
    """The value of a setting so far.

    Args:
        data: settings.
        name: in full, ``data.positions.swap``.

    Returns:
        The value; None, too, where there is no such setting.
    """
    node: Any = data
    for part in name.split(".")[1:]:
        node = getattr(node, part, None)
    return node.value if isinstance(node, Enum) else node


def against(finding: Finding, data: DataConfig) -> Finding:
    """The same finding with those settings that have another value so far."""
    if data.source == DataSource.synthetic:
        # simulated as the settings say: how files are read does not matter
        return replace(finding, settings={})
    new = {
        name: value for name, value in finding.settings.items() if typed_value(data, name) != value
    }
    weight, said = finding.weight, finding.said
    if new and weight == Weight.fine:
        weight = Weight.set
    elif finding.settings and not new and weight == Weight.set:
        weight, said = Weight.fine, f"{said} (Set so already.)"
    return replace(finding, settings=new, weight=weight, said=said)
