"""A validation as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.report.markdown import escape
from rnncost.report.model import Bindings
from rnncost.report.text import plural, printable, shorten
from rnncost.units import format_seconds
from rnncost.validation.model import Comparison, NodeLine, Validation

MOST_LINES = 20
"""Lines of the node table; the others are summed up in one."""

_WIDTH = 60
_ESTIMATES = (
    "profile",
    "estimate",
    "90 % interval",
    "/ minimum",
    "/ steady",
    "speed",
    "error",
    "bound by",
    "calibrated",
)
_NODES = ("measured", "share", "estimate", "est / meas", "bound by", "nodes")
_SHARE = 0.001  # of the sum: lines that are shorter are summed up too


def render_text(result: Validation, *, verbose: bool = False) -> str:
    """What was measured, the estimates, and the nodes, for a terminal.

    Args:
        result: the validation.
        verbose: show every line of the node table.
    """
    from tabulate import tabulate

    def grid(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        left = (*("right",) * (len(headers) - 1), "left") if headers is _NODES else None
        return tabulate(
            rows, headers=headers, disable_numparse=True, stralign="right", colalign=left
        )

    blocks = ["\n".join(_facts(result)), grid(_estimate_headers(result), _estimates(result))]
    if result.nodes:
        blocks += [_nodes_title(result), grid(_NODES, _nodes(result, verbose=verbose))]
    blocks += ["\n".join(f"note: {note}" for note in notes(result))]
    return "\n\n".join(printable_lines(block) for block in blocks if block)


def render_markdown(results: Sequence[Validation], *, verbose: bool = False) -> str:
    """The same as Markdown, a section for each validation."""
    return "\n\n".join(_section(result, verbose=verbose) for result in results)


def one_line(result: Validation) -> str:
    """The measured times, the estimates and their verdicts."""
    timing = result.timing
    parts = [f"minimum {format_seconds(timing.min_s)}, steady {format_seconds(timing.steady_s)}"]
    for c in result.comparisons:
        verdict = f", {c.verdict}" if c.verdict is not None else ""
        parts.append(
            f"{c.estimate.profile} estimates {format_seconds(c.estimate.latency_s)} "
            f"({c.error:+.0%}{verdict})"
        )
    threads = plural(result.threads, "thread")
    return printable_lines(f"{result.model}, {threads}: {'; '.join(parts)}")


def notes(result: Validation) -> list[str]:
    """What a reader must know to read the figures right."""
    found = list(result.notes)
    if any(c.speed != 1 for c in result.comparisons):
        found.append(
            "steady is the median over the rounds of the best run of each; speed is the "
            "machine's by its reference kernel, as a share of what it was when it was "
            "calibrated"
        )
    other = [c.estimate.profile for c in result.comparisons if c.kind != "cpu"]
    if other:
        found.append(
            f"{', '.join(other)}: not a CPU, while this machine's CPU was timed; the ratio "
            "compares two devices, not an estimate with its truth"
        )
    for c in result.comparisons:
        found += [f"{c.estimate.profile}: {note}" for note in c.estimate.notes]
    if result.outside_s is not None and result.outside_s < 0:
        found.append(
            "the nodes add up to more than the timed run, which takes no longer than a run of one "
            "cheap node: their times are the profiler's own"
        )
    return [*found, *([result.advice] if result.advice else []), *result.warnings]


def printable_lines(text: str) -> str:
    """Text from a model file without what a terminal would obey."""
    return "\n".join(map(printable, text.split("\n")))


def _section(result: Validation, *, verbose: bool) -> str:
    from tabulate import tabulate

    def grid(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        cells = [[escape(cell) for cell in row] for row in rows]
        return tabulate(cells, headers=headers, tablefmt="pipe", disable_numparse=True)

    blocks = [
        f"### {escape(result.model)}, {plural(result.threads, 'thread')}",
        "\n".join(f"- {escape(fact)}" for fact in _facts(result)[1:]),
        grid(_estimate_headers(result), _estimates(result)),
    ]
    if result.nodes:
        blocks += [escape(_nodes_title(result)), grid(_NODES, _nodes(result, verbose=verbose))]
    blocks += ["\n".join(f"- {escape(note)}" for note in notes(result))]
    return "\n\n".join(block for block in blocks if block)


def _facts(result: Validation) -> list[str]:
    timing = result.timing
    return [
        f"{result.model}, {plural(result.threads, 'thread')}",
        *_bound_to(result.bindings),
        f"measured: minimum {format_seconds(timing.min_s)}, steady "
        f"{format_seconds(timing.steady_s)}, median {format_seconds(timing.median_s)}, middle half "
        f"within {format_seconds(timing.iqr_s)}, "
        f"90 % below {format_seconds(timing.p90_s)} "
        f"({timing.runs} runs in {plural(len(timing.per_round_min_s), 'round')})",
        f"with {result.runtime} on {result.machine}",
        f"reference kernel between the rounds: {result.drift - 1:.0%} from the fastest round "
        f"to the slowest, half of them within {result.reference.noise - 1:.0%} of the fastest",
    ]


def _bound_to(bindings: Bindings) -> list[str]:
    parts = [f"{name} = {value}" for name, value in bindings.dims.items()]
    parts += [f"{name}: {'x'.join(map(str, s)) or 'scalar'}" for name, s in bindings.shapes.items()]
    assumed = f" (assumed: {', '.join(bindings.assumed)})" if bindings.assumed else ""
    return [f"for {', '.join(parts)}{assumed}"] if parts else []


def _estimate_headers(result: Validation) -> tuple[str, ...]:
    if result.tolerance is None:
        return _ESTIMATES
    return (*_ESTIMATES, f"verdict (±{100 * result.tolerance:g} %)")


def _estimates(result: Validation) -> list[list[str]]:
    return [
        [
            c.estimate.profile,
            format_seconds(c.estimate.latency_s),
            _interval(c),
            f"{c.ratio_to_min:.2f}",
            f"{c.ratio_to_steady:.2f}",
            f"{c.speed:.2f}",
            f"{100 * c.error:+.1f} %",
            c.estimate.bound_by,
            "yes" if c.estimate.calibrated else "no",
            *([] if c.verdict is None else [c.verdict]),
        ]
        for c in result.comparisons
    ]


def _interval(comparison: Comparison) -> str:
    low, high = comparison.estimate.latency_low_s, comparison.estimate.latency_high_s
    if low is None or high is None:
        return "unknown"
    return f"{format_seconds(low)} to {format_seconds(high)}"


def _nodes_title(result: Validation) -> str:
    return (
        f"Node by node: means of the fastest profiled runs, less the profiler's own cost; "
        f"estimates of {result.comparisons[0].estimate.profile}"
    )


def _nodes(result: Validation, *, verbose: bool) -> list[list[str]]:
    profile = result.comparisons[0].estimate
    total_s = result.timing.steady_s

    def row(
        measured_s: float | None, estimated_s: float | None, bound: str, text: str
    ) -> list[str]:
        ratio = estimated_s / measured_s if measured_s and estimated_s is not None else None
        return [
            "not run" if measured_s is None else format_seconds(measured_s),
            "" if measured_s is None else f"{100 * measured_s / total_s:.1f} %",
            "" if estimated_s is None else format_seconds(estimated_s),
            "" if ratio is None else f"{ratio:.2f}",
            bound,
            text,
        ]

    def estimated(lines: Sequence[NodeLine]) -> float | None:
        found = [n.estimated_s[profile.profile] for n in lines if n.estimated_s]
        return sum(found) if found else None

    def measured(lines: Sequence[NodeLine]) -> float | None:
        found = [n.measured_s for n in lines if n.measured_s is not None]
        return sum(found) if found else None

    shown = [n for n in result.nodes if verbose or _matters(n, total_s, profile.profile)]
    shown = shown if verbose else shown[:MOST_LINES]
    rest = [n for n in result.nodes if n not in shown]
    rows = [
        row(n.measured_s, estimated([n]), n.bound_by.get(profile.profile, ""), label(n))
        for n in shown
    ]
    if rest:
        rows.append(row(measured(rest), estimated(rest), "", f"({plural(len(rest), 'line')} more)"))
    inside_s = estimated(result.nodes)
    rows.append(row(measured(result.nodes), inside_s, "", "all nodes"))
    around_s = None if inside_s is None else max(0.0, profile.latency_s - inside_s)
    rows.append(row(result.outside_s, around_s, "", "besides the nodes"))
    return rows


def _matters(line: NodeLine, total_s: float, profile: str) -> bool:
    return max(line.measured_s or 0.0, line.estimated_s.get(profile, 0.0)) >= _SHARE * total_s


def label(line: NodeLine) -> str:
    """The rows of a line, and what ONNX Runtime made of them where that is something else.

    ``Conv_12 + Relu_13 (FusedConv)``; nodes that no row stands for have their own names.
    """
    names = line.rows or line.nodes
    text = " + ".join(
        shorten(name, _WIDTH if len(names) == 1 else _WIDTH // 2) for name in names[:3]
    )
    if len(names) > 3:
        text += f" + {len(names) - 3} more"
    own = [op_type.split("::")[-1] for op_type in line.op_types]
    kinds = line.node_types
    if kinds and (kinds != own or not line.rows):
        more = ", ..." if len(kinds) > 4 else ""
        text += f" ({', '.join(kinds[:4])}{more})"
    elif not kinds:
        text += f" ({', '.join(own[:4])})"
    return text
