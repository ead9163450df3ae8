"""What the quality benchmark writes: a table of all points, figures, a page."""

import csv
import json
import math
import platform
import shutil
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks import methods, scans
from benchmarks.curves import Curve
from benchmarks.peers import PEERS
from benchmarks.quality_figures import save_curves, save_pictures, title
from ptycho.config.config import RunConfig

PSNR = "phase_psnr"
THRESHOLDS = (20.0, 25.0)
"""Decibels of phase that a table says the seconds to."""

FIRST_SCAN, OURS = "chip_1e6", "solver"

_FIGURES = {
    "phase_ssim": ("phase SSIM", 3),
    "amplitude_psnr": ("amplitude PSNR dB", 1),
    "amplitude_mae": ("amplitude MAE", 4),
    "frc_half_bit_px": ("FRC ½-bit px", 2),
    "frc_area": ("FRC area", 3),
    "position_px": ("position error px", 3),
    "scale_percent": ("scale error %", 3),
    "R": ("R", 3),
    "C": ("C", 3),
}


def write(found: Sequence[Curve], out: Path, docs: Path | None) -> list[Path]:
    """Write everything, and copy page and pictures to ``docs``.

    Returns:
        The files in ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in ("quality.csv", "quality.png", "pictures.jpg", "quality.md")]
    _write_csv(found, files[0])
    save_curves(found, files[1], THRESHOLDS[-1])
    save_pictures(found, files[2])
    files[3].write_text(page(found), encoding="utf-8")
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        for file in files[1:]:
            shutil.copy(file, docs / file.name)
    return files


def _write_csv(found: Iterable[Curve], path: Path) -> None:
    """One row per scan, method, snapshot and figure; ``flat`` and ``noise`` are there at 0 s."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("scan", "method", "cpu_s", "wall_s", "iteration", "figure", "value"))
        for curve in {curve.scan: curve for curve in found}.values():
            for method, figures in (("flat", curve.floor), ("noise", curve.noise)):
                rows.writerows((curve.scan, method, 0, 0, 0, *one) for one in figures.items())
        for curve in found:
            for point in curve.points:
                at = f"{point.cpu:.4f}", f"{point.wall:.4f}", f"{point.iteration:g}"
                for name, value in point.figures.items():
                    rows.writerow((curve.scan, curve.method, *at, name, value))


def line(curve: Curve) -> str:
    """What came out, in a line for the terminal."""
    start = f"{curve.scan}  {title(curve.method)}: "
    if curve.failure is not None:
        return start + curve.failure
    last = curve.points[-1]
    known = {"phase_psnr": "phase {:.1f} dB", "phase_ssim": "SSIM {:.3f}", "C": "C {:.3f}"}
    said = [words.format(last.figures[n]) for n, words in known.items() if n in last.figures]
    return f"{start}{', '.join(said)} after {last.cpu:.1f} CPU s ({last.wall:.1f} s)"


def terminal_table(found: Sequence[Curve]) -> Table:
    """The page's tables in one; what failed was said before."""
    thresholds = (f"CPU s to\n{level:g} dB" for level in THRESHOLDS)
    table = Table("", *thresholds, "phase\ndB", "phase\nSSIM", "C", "CPU s", box=SIMPLE_HEAD)
    for scan in dict.fromkeys(curve.scan for curve in found):
        table.add_section()
        table.add_row(scan, style="bold")
        for curve in found:
            if curve.scan == scan and curve.points:
                table.add_row(*_terminal_row(curve))
    return table


def _terminal_row(curve: Curve) -> list[str]:
    seconds = [_seconds(curve, level) for level in THRESHOLDS]
    wanted = {PSNR: 1, "phase_ssim": 3, "C": 3}
    figures = [_number(curve.last(name), digits) for name, digits in wanted.items()]
    return [f"  {title(curve.method)}", *seconds, *figures, f"{curve.points[-1].cpu:.1f}"]


def ratios(found: Sequence[Curve]) -> list[str]:
    """Our solver held against the best of the others, a sentence per scan with a truth."""
    lines = []
    for scan in dict.fromkeys(curve.scan for curve in found):
        here = {curve.method: curve for curve in found if curve.scan == scan and curve.points}
        ours, others = here.get(OURS), [here[name] for name in PEERS if name in here]
        if ours is None or not others or PSNR not in ours.floor:
            continue
        lines.append(f"{scan}: {_in_time(ours, others)}; {_at_the_end(ours, others)}.")
    return lines


def _in_time(ours: Curve, others: Sequence[Curve]) -> str:
    level = THRESHOLDS[-1]
    mine = ours.seconds_to(PSNR, level)
    reached = {curve.method: curve.seconds_to(PSNR, level) for curve in others}
    reached = {name: seconds for name, seconds in reached.items() if not math.isnan(seconds)}
    if not reached:
        return f"{level:g} dB: the solver {_after(mine)}, no peer"
    words = [f"{level:g} dB: the solver {_after(mine)}"]
    for name, theirs in sorted(reached.items(), key=lambda item: item[1]):
        ratio = "" if math.isnan(mine) else f" (1 : {theirs / mine:.1f})"
        words.append(f"{title(name)} {_after(theirs)}{ratio}")
    return ", ".join(words)


def _at_the_end(ours: Curve, others: Sequence[Curve]) -> str:
    best = max(
        others, key=lambda curve: -math.inf if math.isnan(curve.last(PSNR)) else curve.last(PSNR)
    )
    mine, theirs = ours.last(PSNR), best.last(PSNR)
    return (
        f"at the end {mine:.1f} dB ({ours.points[-1].cpu:.1f} CPU s), {title(best.method)} "
        f"{theirs:.1f} dB ({best.points[-1].cpu:.1f} CPU s), {mine - theirs:+.1f} dB"
    )


def _after(seconds: float) -> str:
    return "never" if math.isnan(seconds) else f"after {seconds:.2f} CPU s"


def page(found: Sequence[Curve]) -> str:
    """The Markdown page."""
    parts = [_HEAD, *(_section(found, scan) for scan in dict.fromkeys(c.scan for c in found))]
    if comparison := ratios(found):
        bullets = "\n".join(f"- {sentence}" for sentence in comparison)
        parts.append(f"## Our solver against the best of the others\n\n{bullets}")
    parts += [_PICTURES, _COUNTED, _UNFAIR, _settings(found), _machine(found)]
    return "\n\n".join(parts) + "\n"


def _section(found: Sequence[Curve], scan: str) -> str:
    here = [curve for curve in found if curve.scan == scan]
    floor = here[0].floor
    extra = {name: how for name, how in _FIGURES.items() if name in floor}
    judged = PSNR in floor
    head = ["method"]
    if judged:
        head += [f"CPU s to {level:g} dB" for level in THRESHOLDS] + ["phase PSNR dB at the end"]
    head += [words for words, _ in extra.values()] + ["CPU s (wall s)"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for curve in here:
        if curve.failure is not None:
            rows.append([title(curve.method), curve.failure, *[""] * (len(head) - 2)])
            continue
        row = [title(curve.method)]
        if judged:
            row += [_seconds(curve, level) for level in THRESHOLDS]
            row.append(_number(curve.last(PSNR), 1))
        row += [_number(curve.last(name), digits) for name, (_, digits) in extra.items()]
        last = curve.points[-1]
        rows.append([*row, f"{last.cpu:.1f} ({last.wall:.1f})"])
    yardsticks = {"flat object": floor, "photon noise": here[0].noise}
    for words, figures in yardsticks.items():
        if figures:
            first = ["", "", _number(figures[PSNR], 1)] if judged else []
            others = [_number(figures[name], digits) for name, (_, digits) in extra.items()]
            rows.append([words, *first, *others, ""])
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    words = f"{_WORDS.get(scan, '')}\n\n" if scan in _WORDS else ""
    return f"## {scan}\n\n{words}{lines}"


def _seconds(curve: Curve, level: float) -> str:
    bound = "≤ " if curve.starts_beyond(PSNR, level) else ""
    return bound + _number(curve.seconds_to(PSNR, level), 2)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _settings(found: Sequence[Curve]) -> str:
    lines = ["## Settings"]
    for name in dict.fromkeys(curve.method for curve in found):
        of_it = [curve for curve in found if curve.method == name and curve.about]
        words = PEERS[name].words if name in PEERS else _OURS_IN_WORDS[name]
        lines.append(f"**{title(name)}.** {words}")
        settings = {
            json.dumps(
                {k: v for k, v in c.about["settings"].items() if k not in ("budget", "paths")}
            )
            for c in of_it
        }
        lines += [f"`{text}`" for text in sorted(settings) if text != "{}"]
    return "\n\n".join(lines)


def _machine(found: Sequence[Curve]) -> str:
    versions: dict[str, str] = {}
    for curve in found:
        if curve.about:
            packages = [f"{k} {v}" for k, v in curve.about["versions"].items()]
            told = ", ".join([*packages, f"Python {curve.about['python']}"])
            versions[title(curve.method)] = told
    rows = "\n".join(f"- {name}: {told}" for name, told in versions.items())
    return (
        f"## Versions and machine\n\n{rows}\n\nOne thread of {processor()}, "
        f"{platform.system()}, {date.today():%Y-%m-%d}. Other work on the same machine makes CPU "
        "seconds a little longer and wall seconds much longer; ratios within one run are what "
        "can be relied on."
    )


def processor() -> str:
    """Name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for text in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()


_HEAD = f"""# Quality against seconds

Made by `make bench-peers && python -m benchmarks.quality`; every point is in
`outputs/benchmarks/quality/quality.csv`. Same scans, same scorer
([how results are judged](../results.md)), one thread each, one after another. A dash: never
reached, or without meaning. Simulated scans have {scans.PATTERNS:,} patterns of
64 x 64 (`--quick`: fewer). *Flat object* is worth nothing; *photon noise* is about as good as the
counted photons allow (a yardstick, not a wall)."""

_PICTURES = """## Curves and pictures

![Phase PSNR against CPU seconds](quality.png)

![Phases at the end of every method](pictures.jpg)"""

_COUNTED = """## What is counted

CPU seconds of the process (`time.process_time`) and wall seconds while it iterates. Not
counted, for all alike: imports, reading, preparing the data, building the problem (probes at
sub-pixel positions, batches, optimisers), keeping and scoring snapshots. Counted: every
iteration with all that happens in it. The solver's points are separate runs from a flat start,
since a run cut into pieces would lose its momentum; the first of them also pays what every process
pays once, and may take longer than the next. The network's count the lift, the training
so far and one reconstruction, and with refinement that as well; each point of the patch network
is a whole training, with what Lightning needs to begin. Seconds to a threshold are
interpolated between snapshots; with a ≤ the first snapshot was beyond it already, and these are
its seconds."""

_UNFAIR = """## What is unfair to the others

- They are written for GPUs and batches that fill them; here they run on one CPU thread.
- Our defaults were found on scans of the same simulator; theirs were tried on one of these scans
  (`chip_1e6`) with a handful of settings each, said below, and used unchanged on the rest. There
  they get fewer seconds, and rates that fall with every iteration have fallen less far.
- Data and our model share their physics to the last detail; so do theirs, but each interpolates
  sub-pixel positions in its own way.
- Positions are exact and the probe is known, but where a scan says otherwise. Most of what these
  packages are made for (several modes, unknown positions, multislice, backgrounds) is not asked
  of them.
- Where the probe is wrong all optimise it. Where positions are wrong, only ours were set up to
  correct them."""

_WORDS = {
    "chip_1e6": "Procedural chip, 1e6 photons a pattern; the scan that settings were tried on.",
    "chip_1e4": "The same chip with 1e4 photons a pattern.",
    "natural_1e6": "Photographs, one in the phase and one in the amplitude, 1e6 photons.",
    "dead_leaves_1e5": "Dead leaves, 1e5 photons.",
    f"chip_1e6{scans.WRONG}": (
        "The first scan with a wrong probe (beam 1.25 times as wide, pupil 1.1 times as large, "
        "tilted by a quarter of a detector pixel, 10 % noise). All optimise it: ours with "
        "`instrument=probe`."
    ),
    f"chip_1e6{scans.WRONG_POSITIONS}": (
        "The first scan with wrong positions: each is off by white noise of a pixel along either "
        "axis, and all distances are 1 % too long. Ours with `instrument=positions`; the row of "
        "the flat object says how wrong they are at first."
    ),
    "siemens_star": (
        "Measured, 258 patterns; the probe is somebody's estimate and kept fixed, but in the row "
        "that says otherwise. There is no truth: C and R only."
    ),
    "gold_balls": (
        "Measured object and two-mode probe, patterns simulated again from them. Only our solver, "
        "with both modes known, and finding the probe with one or two modes from the brighter one "
        "alone: the others are set up for one mode here, and a network learns little from few "
        "patterns."
    ),
}

_MODEL, _REFINE = RunConfig().model, RunConfig().refine
_LONGEST = methods.PATHS[-1]
_REFINING = (
    f"The same, each point followed by {_REFINE.iterations} full and "
    f"{_REFINE.poisson_iterations} Poisson iterations of the solver."
)
_FINDING = (
    "`task=solve instrument={}`: as the solver, up to "
    f"{' + '.join(str(one) for one in methods.JOINT_PATHS[-1])} iterations."
)
_OURS_IN_WORDS = {
    "measured": _FINDING.format("measured"),
    "one_mode": _FINDING.format("probe") + " It gets the brighter mode of the scan's probe alone.",
    "two_modes": (
        _FINDING.format("probe instrument.probe_modes=2")
        + " It gets the brighter mode of the scan's probe alone."
    ),
    "solver": (
        "`task=solve`: half-resolution, full-resolution and Poisson iterations, from a single one "
        f"up to {_LONGEST[0]} + {_LONGEST[1]} + {_LONGEST[2]}, all other settings at their "
        "defaults."
    ),
    methods.NETWORK: (
        "`task=train` with its defaults but fewer epochs: lift of "
        f"{_MODEL.lift_coarse_iterations} coarse and {_MODEL.lift_iterations} full iterations, "
        "unsupervised training on this very scan, no pretraining. The learning rate falls over "
        "all epochs, so early points are worse than a training of that length would be."
    ),
    methods.REFINED: _REFINING,
    methods.PATCHES: (
        "`task=train model=pinn` with its defaults but fewer epochs, unsupervised, on this very "
        "scan. Every point is a training of its own, from the lift to the stitched object."
    ),
    methods.PATCHES_REFINED: _REFINING,
}
