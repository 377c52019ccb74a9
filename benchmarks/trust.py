"""What survives: every step that changes a file is the last one once, and fails once; then the command is run again.

    make bench-trust
    python benchmarks/trust.py --kills 1000        # ended at random moments, before a release
    python benchmarks/trust.py --quick             # what the default tests run

Writes benchmarks/results/trust.json and trust.md. A library between the process and the C library counts the calls that
change files (`tests/failing_disk.c`); at one of them the process is killed, or the call fails. Each try is a process of
its own, forked from one that has the imports behind it, and nothing is shared with it but the disk. What the command
leaves when it is run again must be, byte for byte, what it leaves where nothing disturbs it.
"""

import argparse
import errno
import importlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from machine import DOCS, ROOT, commit, machine
from results import checked, earlier_results, print_targets, show_in_readme, targets_table, write_results

sys.path.insert(0, str(ROOT.parent))

from tests.failing_disk import SIGKILLED, Call, Ended, Fault, attempt, forget_library, start_again_watched
from trust_jobs import NOT_COUNTED, Job, chain, command, languages, others, pieces, recipe_file, run_results
from trust_requests import killed_while_paying

IMPORTED = "imported:"
KINDS = ("killed", "failing")
SAID = {
    "killed": "killed before, in or after a step, run again, the same bytes",
    "failing": "a call fails, one line or none, run again, the same bytes",
    "killed at random": "killed at a random moment, run again, the same bytes",
    "reused": "a setting changed and run in the same folder, the bytes of a new folder",
}
"""What is claimed of each kind of try."""

SEED = 25
MEMORY = Path("/dev/shm")
"""Where tries are made, if it is there: each waits for the disk tens of times, which is not what is looked at."""

TOLD = 20
"""Tries between two times that the results are written."""

SLOW_IMPORTS = ("pytest", "hypothesis", "tamis.cli.printing", "tamis.pipeline.run", "matplotlib.pyplot", "ir_measures")
"""What every try would import anew otherwise; what else it needs, the first try tells."""


@dataclass
class Tally:
    """Tries of one kind at one job, and what was wrong with them.

    Attributes:
        job: Its name.
        kind: What was done to it.
        steps: Steps of the job that change files.
        possible: Faults of this kind that there are.
        tried: How many were tried.
        wrong: What went wrong, a line each.
    """

    job: str
    kind: str
    steps: int = 0
    possible: int = 0
    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, complaint: str, fault: object, call: str = "") -> None:
        """Count a try; an empty complaint is a good one."""
        self.tried += 1
        if complaint:
            self.wrong.append(f"{fault} ({call}): {complaint}")
            print(f"   {self.job}, {self.wrong[-1]}", flush=True)

    @property
    def right(self) -> int:
        """Tries that ended as they should."""
        return self.tried - len(self.wrong)

    def facts(self) -> dict[str, Any]:
        """For the results."""
        counts = {"steps": self.steps, "possible": self.possible, "tried": self.tried, "right": self.right}
        return {"job": self.job, "kind": self.kind, **counts, "wrong": self.wrong[:20], "commit": commit()}


# Faults


def steps(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """Calls as steps: neighbouring writes to one file are one."""
    for (name, _), found in groupby(calls, key=lambda call: (call.name, call.path)):
        if name == "write":
            yield list(found)
        else:
            yield from ([call] for call in found)


def killing(calls: Sequence[Call], thorough: bool) -> Iterator[Fault]:
    """A kill before each step, which is after the one before it, after the last one, and in the middle of each write.

    `thorough` kills before and after every single call, and in the middle of every single write.
    """
    for step in [[call] for call in calls] if thorough else steps(calls):
        yield Fault(step[0].number, "before")
        if step[0].name == "write":
            yield Fault(step[len(step) // 2].number, "half")
        if thorough or step[-1] is calls[-1]:
            yield Fault(step[-1].number, "after")


REASONS = {
    "write": (("fail", errno.ENOSPC), ("fail", errno.EIO), ("short", errno.ENOSPC), ("full", errno.ENOSPC)),
    "fsync": (("fail", errno.EIO), ("fail", errno.ENOSPC)),
    "create": (("fail", errno.EACCES), ("fail", errno.ENOSPC)),
    "mkdir": (("fail", errno.EACCES), ("fail", errno.ENOSPC)),
    "rename": (("fail", errno.EACCES), ("fail", errno.EIO)),
    "link": (("fail", errno.EACCES), ("fail", errno.ENOSPC)),
    "truncate": (("fail", errno.EIO),),
    "remove": (("fail", errno.EACCES),),
}
"""How each kind of call fails."""


def failing(calls: Sequence[Call], thorough: bool) -> Iterator[Fault]:
    """Each failure of each step; of a write that takes several calls the middle one, or with `thorough` each."""
    for step in [[call] for call in calls] if thorough else steps(calls):
        chosen = step[len(step) // 2]
        yield from (Fault(chosen.number, what, error) for what, error in REASONS[chosen.name])


# Tries


def undisturbed(job: Job) -> tuple[Ended, Mapping[str, str], float]:
    """The command as it should be: how it ends, what it leaves, and its seconds."""
    job.prepare()
    began = time.monotonic()
    ended = attempt(importing(job.work), job.place, skip=NOT_COUNTED)
    if ended.status:
        raise SystemExit(f"{job.name}: ends with {ended.status} where nothing disturbs it\n{ended.said}")
    seconds = time.monotonic() - began
    import_what_it_imported(ended)
    return ended, job.results(job.place), seconds


def killed(job: Job, fault: Fault, expected: Mapping[str, str]) -> str:
    """End the command at a call, run it again, and say what is wrong."""
    job.prepare()
    first = job.run(fault)
    if first.status != SIGKILLED:
        return f"was to be killed, ended with {first.status}: {last_line(first)}"
    return resumed(job, expected)


def resumed(job: Job, expected: Mapping[str, str]) -> str:
    """Run the command again after whatever happened, and say what is wrong."""
    again = job.run()
    if again.status:
        return f"run again, it ends with {again.status}: {last_line(again)}"
    return differences(job.results(job.place), expected)


def failed(job: Job, fault: Fault, expected: Mapping[str, str]) -> str:
    """Let a call fail; the command says so in one line or goes on as if nothing were, and ends well when run again."""
    job.prepare()
    first = job.run(fault)
    if first.status == 0:
        return differences(job.results(job.place), expected)
    if complaint := not_one_line(first):
        return complaint
    return resumed(job, expected)


def not_one_line(ended: Ended) -> str:
    """What is wrong with how a command says that it cannot go on."""
    if ended.status != 2:
        return f"ended with {ended.status}: {last_line(ended)}"
    *before, last = ended.said.splitlines() or [""]
    others = [line for line in before if not line.startswith(("[", "warning: ", "  "))]
    if others or not last.startswith("tamis: "):
        return f"more than one line: {(others or [last])[-1][:200]}"
    return ""


def last_line(ended: Ended) -> str:
    """The last line that a command wrote; of one that stood still, where all its threads stood."""
    _, stuck, stood = ended.said.rpartition("Timeout (")
    if stuck:
        return " ".join(f"{stuck}{stood}".split())[:4000]
    return str((ended.said.splitlines() or ["nothing said"])[-1][:300])


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Which files are not as they should be."""
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    told = [
        f"{name} {'is missing' if name not in found else 'is left over' if name not in expected else 'differs'}"
        for name in names
    ]
    return ", ".join(told[:4])


def enumerated(job: Job, kind: str, thorough: bool = False, most: int | None = None) -> Iterator[Tally]:
    """Every fault of a kind at each step of a job, in a random order; the tally after each `TOLD` of them, and at last.

    Args:
        job: What is disturbed.
        kind: One of `KINDS`.
        thorough: Every single call, not each step.
        most: Faults after which it ends; None for all.
    """
    ended, expected, seconds = undisturbed(job)
    make, check = (killing, killed) if kind == "killed" else (failing, failed)
    faults = list(make(ended.calls, thorough))
    random.Random(SEED).shuffle(faults)
    print(f"{job.name}: {len(ended.calls)} calls in {seconds:.2f} s, {len(faults)} to be {kind}", flush=True)
    tally = Tally(job.name, kind, len(list(steps(ended.calls))), len(faults))
    called = {call.number: f"{call.name} {call.path}" for call in ended.calls}
    for fault in faults[:most]:
        tally.add(check(job, fault, expected), fault, called[fault.at])
        if tally.tried % TOLD == 0:
            yield tally
    yield tally


def killed_at_random(job: Job, count: int, seed: int) -> Tally:
    """Kills at random moments, each followed by a run to the end."""
    _, expected, seconds = undisturbed(job)
    rng = random.Random(seed)
    tally = Tally(job.name, "killed at random", possible=count)
    for number in range(count):
        job.prepare()
        moment = rng.uniform(0, seconds)
        job.run(killed_after=moment)
        tally.add(resumed(job, expected), f"kill {number} at {moment:.3f} s")
    return tally


def importing(work: Callable[[], object]) -> Callable[[], None]:
    """The same, which says last what it imported."""

    def noting() -> None:
        try:
            work()
        finally:
            print(IMPORTED, *sys.modules, flush=True)

    return noting


def import_what_it_imported(ended: Ended) -> None:
    """Import here what a try imported, so that those after it need not; in its order, and what fails is left out."""
    told = next(line for line in reversed(ended.said.splitlines()) if line.startswith(IMPORTED))
    for name in told.split()[1:]:
        if name not in sys.modules and name != "__main__":
            with suppress(Exception):
                importlib.import_module(name)


def quick(base: Path) -> list[Tally]:
    """Every fault at every step of the single pieces, which need no model and some seconds."""
    return [last for job in pieces(base) for kind in KINDS for *_, last in [enumerated(job, kind)]]


def commands(base: Path, asked: argparse.Namespace) -> Iterator[Tally]:
    """Every fault at every step of the commands; each part of a run begins with what the one before it left."""
    for name in (*SLOW_IMPORTS, "tests.rerankers"):
        importlib.import_module(name)
    languages()
    start = None
    for name, until, work in chain(base / "run"):
        job = Job(name, work, base / "run" / "place", run_results, start)
        if asked.only in name:
            yield from in_both_ways(job, asked)
            if asked.kills:
                yield killed_at_random(job, asked.kills // 4, SEED)
        start = kept(job, base / f"after-{until}")
    for job in others(base / "others"):
        if asked.only in job.name:
            yield from in_both_ways(job, asked)


def in_both_ways(job: Job, asked: argparse.Namespace) -> Iterator[Tally]:
    """A job killed, and with failing calls."""
    for kind in KINDS:
        yield from enumerated(job, kind, asked.thorough, asked.most)


def kept(job: Job, folder: Path) -> Path:
    """A copy of what a job leaves where nothing disturbs it."""
    undisturbed(job)
    return shutil.copytree(job.place, folder, symlinks=True)


# Reuse


def reused(base: Path) -> dict[str, Any]:
    """Every setting changed once: whether the keys of the right stages change, and of no others; no stage is run."""
    from tamis.pipeline.reading import recipe_from
    from tamis.pipeline.run import NAMES, stage_keys
    from tests.conftest import build_tiny_encoder
    from tests.pipeline.reuse import before_and_after, changes, everything, in_place

    base.mkdir()
    content = everything(base, build_tiny_encoder(base / "tiny"))
    counts = {"settings": 0, "false_reuses": 0, "needless_reruns": 0}
    for name, change in changes():
        recipes = (in_place(one, base) for one in before_and_after(name, change, content))
        before, after = (stage_keys(recipe_from(one, name)) for one in recipes)
        other = {stage for stage in NAMES if before[stage] != after[stage]}
        wanted = set(NAMES[NAMES.index(change.first) :]) if change.first else set()
        counts["settings"] += 1
        counts["false_reuses"] += bool(wanted - other)
        counts["needless_reruns"] += bool(other - wanted)
    return counts


def changed_in_place(base: Path, only: str) -> Tally:
    """A setting is changed and the run repeated in the folder that is there, and in a new one: the same bytes."""
    from tests.pipeline.reuse import CHANGES, RUNNABLE, with_value

    place = base / "changed"
    recipe = recipe_file(base / "changed-inputs", place)
    content = json.loads(recipe.read_text(encoding="utf-8"))
    work = command(place, "run", recipe, "--yes", "--out", place / "run", "--until", "evaluate")
    new = Job("run: a setting changed", work, place, run_results)
    old = replace(new, start=kept(new, base / "before-changes"))
    tally = Tally(new.name, "reused", possible=len(RUNNABLE))
    for name in sorted(one for one in RUNNABLE if only in one):
        changed = with_value(content, name, CHANGES[name].value)
        recipe.write_text(json.dumps(changed), encoding="utf-8")
        complaint, found = "", []
        for job in (new, old):
            job.prepare()
            ended = job.run()
            complaint = complaint or (f"ends with {ended.status}: {last_line(ended)}" if ended.status else "")
            found.append(job.results(place))
        fresh, again = found
        tally.add(complaint or differences({one: again.get(one, "") for one in fresh}, fresh), name)
    return tally


# Results


def targets_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What has to hold, and whether it does."""
    rows: list[tuple[str, float, str]] = []
    for kind, told in SAID.items():
        own = [row for row in found["rows"] if row["kind"] == kind]
        right, tried = (sum(row[name] for row in own) for name in ("right", "tried"))
        if tried:
            rows.append((f"{told}: {right:,} of {tried:,}", right / tried, "= 1"))
    if paid := found.get("paid"):
        limit = paid["concurrency"]
        name = f"requests paid again after one kill, most of {paid['kills']} kills with {limit} under way"
        rows.append((name, paid["most_again"], f"<= {limit}"))
    if keys := found.get("reuse"):
        for what in ("false_reuses", "needless_reruns"):
            name = f"{what.replace('_', ' ')} where each of {keys['settings']} settings is changed once"
            rows.append((name, keys[what], "= 0"))
    return checked(rows)


def table_of(found: Mapping[str, Any]) -> str:
    """What was tried, and what has to hold."""
    lines = ["| what | done to it | steps | tried | of possible | right |", "|---|---|---:|---:|---:|---:|"]
    for row in found["rows"]:
        counts = " | ".join(f"{row[name]:,}" for name in ("steps", "tried", "possible", "right"))
        lines.append(f"| {row['job']} | {row['kind']} | {counts} |")
    return "\n".join([*lines, "", *targets_table(found["targets"]), ""])


def written(found: dict[str, Any], tally: Tally | None = None, **more: Any) -> dict[str, Any]:
    """The results with one more row or part; written at once, so that what was done is kept."""
    if tally:
        print(f"{tally.job}, {tally.kind}: {tally.right} of {tally.tried}", flush=True)
        others = [row for row in found["rows"] if (row["job"], row["kind"]) != (tally.job, tally.kind)]
        found["rows"] = [*others, tally.facts()]
    found |= more
    found["targets"] = targets_of(found)
    write_results("trust", found, table_of(found))
    return found


def measured(base: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """All that is asked for, beside what earlier calls have found."""
    found = {**(earlier_results("trust") or {"rows": []}), "commit": commit(), "machine": machine(), "seeds": [SEED]}
    for job in pieces(base):
        if asked.only in job.name:
            for kind in KINDS:
                for tally in enumerated(job, kind, thorough=True):
                    found = written(found, tally)
    for tally in commands(base, asked):
        found = written(found, tally)
    if asked.only in "run: a setting changed":
        found = written(found, changed_in_place(base, asked.setting))
    if asked.paying:
        found = written(found, paid=killed_while_paying(base, asked.paying, SEED).facts())
    if not asked.only:
        found = written(found, reuse=reused(base / "reuse"))
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="The single pieces alone; nothing is written")
    parser.add_argument("--only", default="", help="Text in the names of what to do; the other rows stay")
    parser.add_argument("--setting", default="", help="Text in the names of settings to change in runs")
    parser.add_argument("--most", type=int, help="Most faults of a kind and command, drawn at random")
    parser.add_argument("--kills", type=int, default=0, help="Kills of runs at random moments, besides")
    parser.add_argument("--paying", type=int, default=20, help="Kills of runs that ask a server")
    parser.add_argument("--thorough", action="store_true", help="Every single call, not each step")
    asked = parser.parse_args()
    start_again_watched()
    forget_library()
    with tempfile.TemporaryDirectory(prefix="trust-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        base = Path(folder)
        if asked.quick:
            tallies = quick(base)
            print(json.dumps([tally.facts() for tally in tallies]))
            raise SystemExit(any(tally.wrong for tally in tallies))
        found = measured(base, asked)
    show_in_readme(table_of(found), "trust", DOCS / "trust.md")
    print_targets(found["targets"])


if __name__ == "__main__":
    main()
