"""The report of a sweep as one HTML file that opens anywhere, offline."""

import base64
import html
import shlex
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any

from ptycho import __version__
from ptycho.report.digits import column, duration, single
from ptycho.report.sweep_rows import Job, Stand, Sweep
from ptycho.report.sweep_table import figure_columns, setting_columns

_RUN = ("python", "-m", "ptycho.run")
_NOT_REPEATED = ("hydra", "sweep", "launcher", "execution.resume")
"""Settings of the sweep itself, which a single run does not need."""

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="lead">$lead</p>
</header>
<main>
$body
</main>
<footer>Written $when by ptycho $version. All figures: <a href="report.csv">report.csv</a>;
pictures: <a href="report/">report/</a>.</footer>
</body>
</html>
""")

_STYLE = """\
:root { --ink: #222; --soft: #666; --line: #ddd; --best: #d9622b; --link: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1140px; padding: 1rem 1.25rem 3rem; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 75ch; }
a { color: var(--link); }
.lead { font-size: 1.05rem; color: var(--soft); max-width: none; }
.note { color: var(--soft); max-width: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: #f5f5f3; border: 1px solid var(--line); border-radius: 4px;
  padding: .7rem .9rem; margin: .5rem 0; white-space: pre-wrap; overflow-wrap: anywhere;
  user-select: all; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 60%; }
th { text-align: right; vertical-align: bottom; font-weight: 600; font-size: .85rem;
  border-bottom: 2px solid var(--ink); padding: .3rem .7rem; }
th small { display: block; font-weight: 400; color: var(--soft); }
td { text-align: right; padding: .28rem .7rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
td.text, th.text { text-align: left; }
tr:has(+ .said) td { border-bottom: 0; }
td.error { text-align: left; white-space: normal; padding-top: 0; width: 0; color: #8a2a1a;
  overflow-wrap: anywhere; }
tr.best td { font-weight: 700; background: #fdf1ea; }
tr.front td:first-child { box-shadow: inset 4px 0 var(--best); }
tr.other td { color: var(--soft); }
img { display: block; max-width: 100%; height: auto; margin: .4rem 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 600px) {
  body { padding: .5rem .8rem 2rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; }
  .wide img { max-width: none; width: 720px; }
}
@media print {
  body { max-width: none; font-size: 10pt; }
  h2 { break-after: avoid; }
  img, tr, pre { break-inside: avoid; }
  .wide { overflow: visible; }
  td, th { padding: .15rem .35rem; }
}
"""


def page(sweep: Sweep, pictures: dict[str, Path | str]) -> str:
    """The whole page.

    Args:
        sweep: what to tell.
        pictures: heading -> PNG to take in, or a sentence on why there is none.
    """
    parts = [_about(sweep), _jobs(sweep), _best(sweep)]
    parts += [_picture(heading, what) for heading, what in pictures.items()]
    return _PAGE.substitute(
        title=html.escape(f"sweep {sweep.label}"),
        style=_STYLE,
        lead=html.escape(lead(sweep)),
        body="\n".join(parts),
        when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        version=html.escape(__version__),
    )


def lead(sweep: Sweep) -> str:
    """How the sweep stands, in a sentence."""
    counts = Counter(job.stand for job in sweep.jobs)
    told = ", ".join(f"{counts[stand]} {stand}" for stand in Stand if counts[stand])
    wanted = sweep.record.get("n_trials")
    of = f" of {wanted}" if isinstance(wanted, int) and wanted > len(sweep.jobs) else ""
    jobs = "1 job" if len(sweep.jobs) == 1 and not of else f"{len(sweep.jobs)}{of} jobs"
    return f"{jobs}: {told}."


def best_command(sweep: Sweep) -> str | None:
    """The best job as a command line of its own; None while no job has finished."""
    if not sweep.judged:
        return None
    best = sweep.judged[0]
    typed = [*best.folder.overrides] or [f"{n}={v}" for n, v in best.settings.items()]
    kept = [one for one in typed if not _of_sweep(one)]
    return shlex.join([*_RUN, *kept])


def _of_sweep(line: str) -> bool:
    name = line.lstrip("+~").partition("=")[0]
    return name in _NOT_REPEATED or name.split(".")[0] in _NOT_REPEATED


def _about(sweep: Sweep) -> str:
    facts = {
        "swept": "; ".join(f"{name}: {how}" for name, how in sweep.swept.items()),
        "judged by": "; ".join(f"{m.name} ({m.wanted})" for m in sweep.metrics),
        **_how(sweep),
        "data": _same(_data(job) for job in sweep.jobs),
        "device": _same(_device(job) for job in sweep.jobs),
        "code": _same(_code(job) for job in sweep.jobs),
        "command": _command(sweep),
        "began": str(sweep.record.get("began") or "").replace("T", " ")[:19],
        "time of all jobs": duration(sum(job.figures.get("seconds", 0.0) for job in sweep.jobs)),
    }
    rows = "\n".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
        if value
    )
    return f"<dl>\n{rows}\n</dl>"


def _how(sweep: Sweep) -> dict[str, str]:
    record = sweep.record
    if not record:
        return {"sampler": "not recorded (no sweep.json)"}
    trials, pruner = record.get("n_trials"), record.get("pruner")
    told = str(record.get("sampler") or "not recorded")
    told += f", {trials} trials" if trials else ""
    told += f", pruned by {pruner}" if pruner and pruner != "none" else ""
    return {"sampler": told}


def _same(told: Iterable[str]) -> str:
    """What the jobs say, once where they agree."""
    return "; ".join(dict.fromkeys(one for one in told if one))


def _data(job: Job) -> str:
    data = job.folder.environment.get("data") or {}
    settings = job.folder.settings.get("data") or {}
    label = str(data.get("label") or settings.get("label") or "")
    if "patterns" not in data or "N" not in data:
        return label
    return f"{label}, {data['patterns']:,} patterns of {data['N']} x {data['N']}"


def _device(job: Job) -> str:
    environment = job.folder.environment
    if "device" not in environment:
        return ""
    threads = environment.get("threads")
    name = str(environment.get("device_name") or "")
    where = f"{environment['device']} ({name})" if name else str(environment["device"])
    return f"{where}, {threads} {'thread' if threads == 1 else 'threads'}" if threads else where


def _code(job: Job) -> str:
    environment = job.folder.environment
    version = (environment.get("packages") or {}).get("ptycho")
    git = environment.get("git") or {}
    told = f"ptycho {version}" if version else ""
    if git.get("sha"):
        changed = " with uncommitted changes" if git.get("dirty") else ""
        told += f", commit {str(git['sha'])[:12]}{changed}"
    return told


def _command(sweep: Sweep) -> str:
    commands = [sweep.record, *(job.folder.environment for job in sweep.jobs)]
    recorded: Any = next((found for one in commands if (found := one.get("command"))), [])
    words = [*map(str, recorded)] if isinstance(recorded, list) else [str(recorded)]
    options = bool(words) and (words[0].startswith("-") or "=" in words[0])
    return shlex.join([*_RUN, *words] if options else words) if any(words) else ""


def _jobs(sweep: Sweep) -> str:
    settings, figures = setting_columns(sweep), figure_columns(sweep)
    heads = ["<th>job</th>"]
    heads += [f"<th>{_in_two(name, '.')}</th>" for name in settings]
    heads += [f"<th>{_in_two(name, '/')}</th>" for name in figures]
    heads.append('<th class="text">state</th>')
    rows = [
        _row(sweep, job, [texts[at] for texts in (*settings.values(), *figures.values())])
        for at, job in enumerate(sweep.jobs)
    ]
    marked = "<p class='note'>Best first; jobs of the Pareto front, which none beats in all " \
             "metrics, are marked at the left.</p>" if len(sweep.metrics) > 1 else ""  # fmt: skip
    return (
        f'<h2>Jobs</h2>\n{marked}<div class="wide"><table>\n<thead><tr>{"".join(heads)}</tr>'
        f"</thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _row(sweep: Sweep, job: Job, cells: list[str]) -> str:
    several = len(sweep.metrics) > 1
    classes = [
        "best" if sweep.judged and job is sweep.judged[0] else "",
        "front" if several and job.number in sweep.front else "",
        "" if job.stand == Stand.finished else "other",
    ]
    number = f'<a href="{job.number}/">{job.number}</a>'
    told = [f"<td>{number}</td>", *(f"<td>{html.escape(cell)}</td>" for cell in cells)]
    state = f"{job.said}, Pareto" if classes[1] else job.said
    told.append(f'<td class="text">{html.escape(state)}</td>')
    chosen = " ".join(filter(None, classes))
    row = f'<tr class="{chosen}">{"".join(told)}</tr>' if chosen else f"<tr>{''.join(told)}</tr>"
    if not job.fault:
        return row
    sentence = f'<td class="error" colspan="{len(told) - 1}">{html.escape(job.fault)}</td>'
    return f'{row}\n<tr class="said"><td></td>{sentence}</tr>'


def _in_two(name: str, mark: str) -> str:
    """A long name as two lines, its group small."""
    group, _, last = name.rpartition(mark)
    small = f"<small>{html.escape(group)}</small>" if group else ""
    return f"{small}{html.escape(last)}"


def _best(sweep: Sweep) -> str:
    command = best_command(sweep)
    if command is None:
        return "<h2>Best settings</h2>\n<p class='note'>No job has finished yet.</p>"
    best = sweep.judged[0]
    said = ", ".join(
        f"{m.name} {_value(sweep, best, m.name)}" for m in sweep.metrics
    )  # fmt: skip
    settings = ", ".join(f"{name} {single(value)}" for name, value in best.settings.items())
    repeat = shlex.join(["ptycho", "reproduce", str(best.folder.path)])
    return (
        f"<h2>Best settings</h2>\n<p>Job {best.number}: {html.escape(said)}"
        f"{' with ' + html.escape(settings) if settings else ''}.</p>\n"
        f"<pre>{html.escape(command)}</pre>\n"
        f"<p class='note'>To see whether it comes out the same again: "
        f"<code>{html.escape(repeat)}</code></p>"
    )


def _value(sweep: Sweep, job: Job, name: str) -> str:
    texts = column([one.metrics.get(name) for one in sweep.judged])
    return texts[sweep.judged.index(job)]


def _picture(heading: str, what: Path | str) -> str:
    title = f"<h2>{html.escape(heading)}</h2>"
    if isinstance(what, str):
        return f"{title}\n<p class='note'>{html.escape(what)}</p>"
    data = base64.b64encode(what.read_bytes()).decode("ascii")
    image = f'<img alt="{html.escape(heading)}" src="data:image/png;base64,{data}">'
    return f'{title}\n<div class="wide">{image}</div>'
