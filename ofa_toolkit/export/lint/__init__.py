"""Would the target accept this ONNX file? Answered from the target's row, without its software or GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.export.lint import format as file_format
from ofa_toolkit.export.lint import loading, operators, quantisation, tensors
from ofa_toolkit.export.lint.rule import Finding, ModelFile, Rule
from ofa_toolkit.export.target_devices import Target

__all__ = ["RULES", "Finding", "Group", "check_lint", "group", "lint"]

RULES: tuple[Rule, ...] = (
    file_format.check_valid,
    file_format.check_versions,
    file_format.check_old_operators,
    operators.check_operators,
    tensors.check_static_shapes,
    tensors.check_open_batch,
    tensors.check_data_types,
    operators.check_constants,
    operators.check_attributes,
    operators.check_pools,
    operators.check_outputs,
    quantisation.check_quantisation,
)

_PLACES = 3


def lint(model: onnx.ModelProto, target: Target, *, loads: bool = False) -> list[Finding]:
    """Everything about a model that its target would refuse or warn of, in the order of the rules.

    Args:
        model: Any ONNX model, ours or not.
        target: The device or software that it is to run on.
        loads: Where the target runs the file itself (ONNX Runtime), let the one installed here decide on
            operators that are not ONNX's own, and load the file where nothing is wrong with it.
    """
    file = ModelFile(model)
    findings = [finding for rule in RULES for finding in rule(file, target)]
    if loads and not target.generation.software.builds_engines:
        findings = [finding for finding in findings if finding.rule != "domain"]
        if not any(finding.severity == "error" for finding in findings):
            findings += loading.check_loads(file, target)
    return findings


def check_lint(model: onnx.ModelProto, target: Target) -> list[Finding]:
    """Raise `ExportError` at the first error of `lint`; returns the warnings."""
    findings = lint(model, target)
    for finding in findings:
        if finding.severity == "error":
            where = f" ({finding.node})" if finding.node else ""
            raise ExportError(f"{target.name} would not take the file: {finding.message}{where}")
    return findings


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a rule found, told once.

    Attributes:
        severity: Severity of all members.
        rule: The rule.
        count: Places it was found at.
        places: The first of them.
        message: Every distinct message.
    """

    severity: Literal["error", "warning"]
    rule: str
    count: int
    places: tuple[str, ...]
    message: str


def group(findings: Sequence[Finding]) -> list[Group]:
    """One entry for each rule and severity, errors first."""
    found: dict[tuple[Literal["error", "warning"], str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding.severity):
        found.setdefault((finding.severity, finding.rule), []).append(finding)
    return [
        Group(
            severity=severity,
            rule=rule,
            count=len(members),
            places=tuple(dict.fromkeys(member.node or "file" for member in members))[:_PLACES],
            message="; ".join(dict.fromkeys(member.message for member in members)),
        )
        for (severity, rule), members in found.items()
    ]
