"""``sbatch``, ``srun``, ``scontrol``, ``sacct``, ``scancel`` and ``fakeslurm`` of a fake SLURM.

Batch scripts and tasks are real processes with the variables and the signals that SLURM gives
them; there is one machine, called localhost as often as nodes are wanted, that always has room.
All state is in the folder ``$FAKESLURM``, a folder for each job. Options are ``--name=value``.

``FAKESLURM_MINUTE``: seconds that a minute of ``--time`` lasts, and of ``--signal`` by shares.
``FAKESLURM_KILL_WAIT``: seconds from SIGTERM to SIGKILL (SLURM's KillWait).

``fakeslurm preempt JOB [--user-signal] [--grace=SECONDS]`` is PreemptMode=REQUEUE, with
``--user-signal`` of a cluster with PreemptParameters=send_user_signal.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "srun", "scontrol", "sacct", "scancel", "fakeslurm")
KNOWN = {
    "array", "comment", "cpus-per-task", "error", "gpus-per-node", "job-name", "kill-on-bad-exit",
    "mem", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "partition",
    "requeue", "no-requeue", "signal", "time", "unbuffered", "wckey",
}  # fmt: skip
FIRST = 1000
POLL = 0.05


def root() -> Path:
    return Path(os.environ["FAKESLURM"])


def seconds(minutes: float) -> float:
    return minutes * float(os.environ.get("FAKESLURM_MINUTE", 60))


def fail(text: str) -> None:
    sys.exit(f"{sys.argv[1]}: error: {text}")


@dataclass
class Job:
    """A job, or a task of an array."""

    name: str
    """``1000`` or ``1000_0``."""

    @property
    def folder(self) -> Path:
        return root() / self.name

    def get(self, what: str, default: str = "") -> str:
        path = self.folder / what
        return path.read_text() if path.exists() else default

    def put(self, what: str, text: str) -> None:
        draft = self.folder / f".{what}.{os.getpid()}.{threading.get_ident()}"
        draft.write_text(text)
        draft.replace(self.folder / what)

    def take(self, what: str) -> str:
        text = self.get(what)
        (self.folder / what).unlink(missing_ok=True)
        return text

    def note(self, event: str) -> None:
        with (self.folder / "events").open("a") as file:
            file.write(f"{event}\n")

    @property
    def plan(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.get("plan"))
        return content

    @property
    def state(self) -> str:
        return self.get("state", "PENDING")

    @property
    def restarts(self) -> int:
        return int(self.get("restarts", "0"))

    @property
    def tasks(self) -> list[int]:
        """Processes that srun started."""
        return [int(pid) for file in self.folder.glob("step.*") for pid in file.read_text().split()]

    def signal_steps(self, which: int) -> None:
        """Signal every task of every step."""
        self.note(f"signal {signal.Signals(which).name.removeprefix('SIG')}")
        for pid in self.tasks:
            send(pid, which)


def send(pid: int, which: int) -> bool:
    """Signal a task: it alone, as SLURM does, but with all that it started for SIGKILL."""
    try:
        (os.killpg if which == signal.SIGKILL else os.kill)(pid, which)
    except ProcessLookupError:
        return False
    return True


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def jobs(name: str) -> list[Job]:
    """The job of a name, all tasks of an array, or the one with that SLURM_JOB_ID."""
    if (root() / name).is_dir():
        return [Job(name)]
    tasks = sorted(root().glob(f"{name}_*"), key=lambda path: int(path.name.split("_")[1]))
    found = [Job(path.name) for path in tasks]
    return found or [
        Job(path.parent.name) for path in root().glob("*/plan")
        if json.loads(path.read_text())["id"] == name
    ]  # fmt: skip


def read_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """``--name=value``, ``--name value`` and ``-n 2`` up to the first other word."""
    short = {"-n": "--ntasks", "-N": "--nodes", "-J": "--job-name", "-p": "--partition"}
    flags = {"parsable", "requeue", "no-requeue", "unbuffered"}
    options: dict[str, str] = {}
    words = list(words)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        name, equals, value = short.get(word, word).removeprefix("--").partition("=")
        if name not in KNOWN:
            fail(f"unrecognized option '{word}'")
        if not equals and name not in flags:
            value = words.pop(0)
        options[name] = value.strip("'\"")
    return options, words


def script_options(script: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in script.read_text().splitlines():
        if line.startswith("#SBATCH "):
            found |= read_options([line.removeprefix("#SBATCH ").strip()])[0]
        elif line.strip() and not line.startswith("#"):
            break
    return found


def sbatch(words: list[str]) -> None:
    typed, rest = read_options(words)
    script = Path(rest[0])
    options = script_options(script) | typed
    tasks, atonce = array(options.get("array"))
    number = reserve(len(tasks))
    for place, task in enumerate(tasks):
        job = Job(f"{number}" if task is None else f"{number}_{task}")
        job.folder.mkdir()
        job.put("script", script.read_text())
        plan = {
            "id": str(number + place), "array": None if task is None else str(number),
            "task": task, "tasks": len(tasks), "options": options, "words": rest[1:],
            "cwd": os.getcwd(),
            "env": {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
        }  # fmt: skip
        job.put("plan", json.dumps(plan))
        job.note("submitted")
    subprocess.Popen(
        [sys.executable, __file__, "_live", str(number), str(atonce)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    print(number if "parsable" in options else f"Submitted batch job {number}")


def array(text: str | None) -> tuple[list[int | None], int]:
    if text is None:
        return [None], 1
    numbers, _, atonce = text.partition("%")
    first, _, last = numbers.partition("-")
    return [*range(int(first), int(last or first) + 1)], int(atonce or 1000)


def reserve(count: int) -> int:
    """The first of some job numbers."""
    root().mkdir(parents=True, exist_ok=True)
    number = FIRST
    while True:
        try:
            for one in range(number, number + count):
                (root() / f".number.{one}").touch(exist_ok=False)
        except FileExistsError:
            number += 1
            continue
        return number


def live(words: list[str]) -> None:
    """slurmctld and slurmd of one job: until all its tasks have ended for good."""
    room = threading.Semaphore(int(words[1]))
    threads = [threading.Thread(target=live_task, args=(job, room)) for job in jobs(words[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def live_task(job: Job, room: threading.Semaphore) -> None:
    while True:
        with room:
            if job.take("cancel"):
                job.put("state", "CANCELLED")
                return
            end = run_once(job)
        if job.take("requeue"):
            job.put("restarts", str(job.restarts + 1))
            job.put("state", "PENDING")
            time.sleep(0.2)
            continue
        job.put("state", end)
        return


def run_once(job: Job) -> str:
    plan = job.plan
    options = plan["options"]
    for old in [*job.folder.glob("step.*"), job.folder / "end", job.folder / "warn"]:
        old.unlink(missing_ok=True)
    names = {
        "%A": plan["array"] or plan["id"],
        "%a": str(plan["task"]),
        "%x": options.get("job-name", ""),
    }
    output = fill(options.get("output", "slurm-%j.out"), {"%j": job.name} | names)
    job.put("state", "RUNNING")
    job.note(f"started {job.restarts}")
    with (Path(plan["cwd"]) / output).open("ab") as file:
        batch = subprocess.Popen(
            ["/bin/bash", str(job.folder / "script"), *plan["words"]],
            cwd=plan["cwd"], env=plan["env"] | variables(job), stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return watch(job, batch)


def watch(job: Job, batch: "subprocess.Popen[bytes]") -> str:
    """Time limit, warning signal and requests to end, until the batch script has ended."""
    options = job.plan["options"]
    began = time.monotonic()
    limit = began + seconds(float(options.get("time", 60)))
    word, _, ahead = options.get("signal", "").partition("@")
    warn = limit - seconds(float(ahead or 60) / 60) if word else None
    end, kill = "", float("inf")
    while batch.poll() is None or (end and any(map(is_alive, job.tasks))):
        now = time.monotonic()
        if warn and now >= warn:
            warn = None
            job.take("warn")
            user_signal(job, batch.pid, word)
        if word and job.take("warn"):
            warn = None
            user_signal(job, batch.pid, word)
        asked = "TIMEOUT" if now >= limit else job.take("end")
        if asked and not end:
            end, kill = asked, now + float(os.environ.get("FAKESLURM_KILL_WAIT", 5))
            for which in (signal.SIGCONT, signal.SIGTERM):
                job.signal_steps(which)
                send(batch.pid, which)
        if now >= kill:
            job.signal_steps(signal.SIGKILL)
            send(batch.pid, signal.SIGKILL)
        time.sleep(POLL)
    for pid in job.tasks:
        send(pid, signal.SIGKILL)
    job.note(f"ended {batch.returncode}")
    return end or ("FAILED" if batch.returncode else "COMPLETED")


def user_signal(job: Job, batch: int, word: str) -> None:
    which = getattr(signal, f"SIG{word.removeprefix('B:').removeprefix('SIG')}")
    if word.startswith("B:"):
        send(batch, which)
    else:
        job.signal_steps(which)


def variables(job: Job) -> dict[str, str]:
    """What a batch script finds in its environment."""
    plan = job.plan
    options = plan["options"]
    nodes = int(options.get("nodes", 1))
    per_node = options.get("ntasks-per-node")
    tasks = options.get("ntasks") or (per_node and str(nodes * int(per_node)))
    hosts = ",".join(["localhost"] * nodes)
    found: dict[str, str | None] = {
        "SLURM_JOB_ID": plan["id"], "SLURM_JOBID": plan["id"],
        "SLURM_JOB_NAME": options.get("job-name", "script"),
        "SLURM_JOB_PARTITION": options.get("partition", "all"),
        "SLURM_JOB_NODELIST": hosts, "SLURM_NODELIST": hosts,
        "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_NNODES": str(nodes),
        "SLURM_NTASKS": tasks, "SLURM_NPROCS": tasks, "SLURM_NTASKS_PER_NODE": per_node,
        "SLURM_CPUS_PER_TASK": options.get("cpus-per-task"),
        "SLURM_SUBMIT_DIR": plan["cwd"],
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "SLURM_RESTART_COUNT": str(job.restarts) if job.restarts else None,
        "FAKESLURM_JOB": job.name,
    }  # fmt: skip
    if plan["array"]:
        found |= {
            "SLURM_ARRAY_JOB_ID": plan["array"], "SLURM_ARRAY_TASK_ID": str(plan["task"]),
            "SLURM_ARRAY_TASK_COUNT": str(plan["tasks"]),
        }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def srun(words: list[str]) -> None:
    typed, command = read_options(words)
    env = dict(os.environ)
    job = Job(env["FAKESLURM_JOB"]) if "FAKESLURM_JOB" in env else None
    nodes = int(typed.get("nodes") or env.get("SLURM_NNODES", 1))
    per_node = typed.get("ntasks-per-node") or env.get("SLURM_NTASKS_PER_NODE")
    asked = typed.get("ntasks") or (per_node and str(nodes * int(per_node)))
    count = int(asked or env.get("SLURM_NTASKS") or nodes)
    step = next(n for n in range(1000) if not (job and (job.folder / f"step.{n}").exists()))
    hosts = ",".join(["localhost"] * nodes)
    common = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NAME": Path(command[0]).name} | env
    common |= {
        "SLURM_STEP_ID": str(step), "SLURM_STEPID": str(step), "SLURM_STEP_NODELIST": hosts,
        "SLURM_STEP_NUM_TASKS": str(count), "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_NTASKS": str(count), "SLURM_NNODES": str(nodes), "SLURM_NODELIST": hosts,
        "SLURM_JOB_NODELIST": hosts,
    } | ({"SLURM_NTASKS_PER_NODE": per_node} if per_node else {})  # fmt: skip
    tasks = []
    for rank in range(count):
        mine = {
            "SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank * nodes // count),
            "SLURM_LOCALID": str(rank - -(-(rank * nodes // count) * count // nodes)),
        }  # fmt: skip
        names = {
            "%j": job.name if job else "0", "%t": str(rank), "%N": "localhost",
            "%A": common.get("SLURM_ARRAY_JOB_ID", common["SLURM_JOB_ID"]),
            "%a": common.get("SLURM_ARRAY_TASK_ID", ""),
        }  # fmt: skip
        streams = {
            stream: open(fill(typed[option], names), "ab") if option in typed else None  # noqa: SIM115
            for stream, option in (("stdout", "output"), ("stderr", "error"))
        }
        tasks.append(
            subprocess.Popen(command, env=common | mine, start_new_session=True, **streams)
        )
    if job:
        job.put(f"step.{step}", " ".join(str(task.pid) for task in tasks))

    def forward(which: int, _: Any) -> None:
        for task in tasks:
            send(task.pid, which)

    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, forward)
    sys.exit(wait_for(tasks, strict=typed.get("kill-on-bad-exit", "0") != "0"))


def wait_for(tasks: list["subprocess.Popen[bytes]"], strict: bool) -> int:
    """The highest exit code of all tasks; strict: the first that fails ends the others."""
    while any(task.poll() is None for task in tasks):
        if strict and any(task.returncode for task in tasks):
            for task in tasks:
                send(task.pid, signal.SIGTERM)
            strict = False
        time.sleep(POLL)
    codes = [task.returncode for task in tasks]
    return max(code if code >= 0 else 128 - code for code in codes)


def fill(pattern: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        pattern = pattern.replace(name, value)
    return pattern


def scontrol(words: list[str]) -> None:
    if words[0] == "requeue":
        for job in jobs(words[1]):
            job.note("requeue by scontrol")
            requeue(job)
    elif words[:2] == ["show", "job"]:
        for job in jobs(words[2]):
            print(f"JobId={job.name} JobState={job.state} Restarts={job.restarts}")
    else:
        fail(f"invalid keyword: {words[0]}")


def requeue(job: Job) -> None:
    job.put("requeue", "yes")
    job.put("end", "REQUEUED")


def sacct(words: list[str]) -> None:
    print("JobID|State|NodeList")
    for place, word in enumerate(words):
        for job in jobs(words[place + 1]) if word == "-j" else []:
            print(f"{job.name}|{job.state}|localhost")
            print(f"{job.name}.batch|{job.state}|localhost")


def scancel(words: list[str]) -> None:
    which, names = None, []
    while words:
        word = words.pop(0)
        if word in ("-s", "--signal"):
            which = words.pop(0)
        elif word.startswith("--signal="):
            which = word.partition("=")[2]
        else:
            names.append(word)
    for job in [job for name in names for job in jobs(name)]:
        if which:
            job.signal_steps(getattr(signal, f"SIG{which.removeprefix('SIG')}"))
        else:
            job.put("cancel" if job.state == "PENDING" else "end", "CANCELLED")


def fakeslurm(words: list[str]) -> None:
    if words[0] != "preempt":
        fail(f"unknown: {words[0]}")
    grace = next((float(w.partition("=")[2]) for w in words if w.startswith("--grace=")), 0.0)
    for job in jobs(words[1]):
        before = job.restarts
        job.note("preempted")
        if "--user-signal" in words:
            job.put("warn", "yes")
        elif grace:
            job.signal_steps(signal.SIGTERM)
        until = time.monotonic() + grace
        while time.monotonic() < until and (job.restarts, job.state) == (before, "RUNNING"):
            time.sleep(POLL)
        if (job.restarts, job.state) != (before, "RUNNING") or job.get("requeue"):
            continue  # it was requeued, or ended, by itself
        if "no-requeue" in job.plan["options"]:
            job.put("end", "PREEMPTED")
        else:
            job.note("requeue by slurm")
            requeue(job)


if __name__ == "__main__":
    {one.__name__: one for one in (sbatch, srun, scontrol, sacct, scancel, fakeslurm)}.get(
        sys.argv[1], live
    )(sys.argv[2:])
