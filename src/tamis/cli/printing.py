"""What runs say on the terminal, and in `results.json` when they are done."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tamis.adaptation import Adapted
from tamis.artifacts import read_json, write_json, writing
from tamis.costs.work import Estimate, Work
from tamis.errors import RunError
from tamis.evaluation.tables import print_answer
from tamis.formats.kinds import NO_FORM
from tamis.inspection import History, StageFacts, read_line
from tamis.models.checkpoint import ORDER
from tamis.pipeline.run import NAMES
from tamis.progress import lasting
from tamis.readaptation import Comparison
from tamis.records import WAYS, Query, Tokens
from tamis.remote.budget import cost
from tamis.remote.spending import Spending
from tamis.report.changes import set_of_run, split_comparisons
from tamis.report.graded import graded_answer
from tamis.report.verdict import verdict
from tamis.report.wording import signed
from tamis.stages.queries.batches import AnswerFile, PromptFile
from tamis.stages.queries.settings import EndpointSettings
from tamis.stages.queries.writers.endpoint import cut_warning
from tamis.stages.report.since import Since
from tamis.stages.report.stage import costs
from tamis.text import clip
from tamis.weighing.rows import WeightRow
from tamis.weighing.weigh import Weighed
from tamis.whole_folder import whole_file

COLUMNS = (
    ("bm25", "BM25"),
    ("dense", "dense"),
    ("hybrid", "hybrid"),
    ("teacher", "teacher"),
    ("untrained~bm25", "untrained"),
    ("specialists~bm25", "specialists"),
    ("merged~bm25", "merged"),
    ("untrained~hybrid", "untrained"),
    ("specialists~hybrid", "specialists"),
    ("merged~hybrid", "merged"),
)
"""System and heading of each column; the last six, what clients get who send an order alone, in two groups of three."""

MOST_ENDINGS = 5
"""Endings of files that are named where they share a reason."""


class Announcer:
    """Prints a line after each stage."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def __call__(self, stage: str, folder: Path, reused: bool) -> None:
        """Say what a stage kept and dropped, how long it took, and what it warns of."""
        manifest = read_json(folder / "manifest.json")
        counts = manifest["counts"]
        dropped = escape(", ".join(grouped(counts["dropped"])))
        took = "reused" if reused else f"{manifest['seconds']:,.1f} s"
        place = f"[{NAMES.index(stage) + 1}/{len(NAMES)}]"
        kept = f"{counts['kept']:,} kept of {counts['in']:,}" if counts["in"] else "done"
        kept += f" (dropped: {dropped})" if dropped else ""
        skipped = skipped_line(manifest.get("folder", {}).get("skipped", {}))
        kept += "".join(f"; {told}" for told in (read_line(manifest), skipped) if told)
        self._console.print(f"{place} [bold]{stage:<10}[/] {took:>9}  {kept}", markup=True, soft_wrap=True)
        for warning in manifest.get("warnings", ()):
            _warn(self._console, warning)


def print_warnings(warnings: Iterable[str]) -> None:
    """A line for each warning, on standard error."""
    console = Console(stderr=True, highlight=False)
    for warning in warnings:
        _warn(console, warning)


def _warn(console: Console, warning: str) -> None:
    console.print(f"[yellow]warning:[/] {escape(warning)}", markup=True, soft_wrap=True)


def grouped(dropped: Mapping[str, int]) -> list[str]:
    """How many were left out for each reason; the endings of files that are no documents share one."""
    none = {reason.removesuffix(f": {NO_FORM}"): count for reason, count in dropped.items() if reason.endswith(NO_FORM)}
    others = [f"{count:,} {reason}" for reason, count in dropped.items() if not reason.endswith(NO_FORM)]
    if not none:
        return others
    named = ", ".join(f"{count:,} {kind}" for kind, count in [*none.items()][:MOST_ENDINGS])
    more = f" and {len(none) - MOST_ENDINGS} more endings" if len(none) > MOST_ENDINGS else ""
    return [*others, f"{sum(none.values()):,} {NO_FORM} ({named}{more})"]


def skipped_line(skipped: Mapping[str, int]) -> str:
    """What nobody takes for documents and was passed over in a folder; empty where there was nothing such."""
    found = ", ".join(f"{count:,} {what}" for what, count in skipped.items())
    return f"passed over: {found}" if found else ""


def agreed(found: Estimate, yes: bool) -> bool:
    """Say what a run will cost where that is worth a word, and ask where somebody should agree first.

    Args:
        found: What is left to do.
        yes: Whether the user agreed on the command line.

    Raises:
        RunError: it would spend money, and there is nobody to ask.
    """
    if not found.small:
        print_estimate(found, Console(stderr=True, highlight=False))
    if yes or not found.doubt:
        return True
    if sys.stdin.isatty():
        sys.stderr.write(f"{found.doubt}. Go on? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    if found.paid:
        raise RunError(f"{found.doubt}: give --yes if that is wanted, or see what it costs with --estimate")
    return True


def print_exchanged(found: AnswerFile | PromptFile, endpoint: EndpointSettings, path: Path) -> None:
    """Print what came of a batch file."""
    if isinstance(found, PromptFile):
        print_prompts(found, endpoint, path)
    else:
        print_answers(found, endpoint, path)


def print_prompts(found: PromptFile, prices: EndpointSettings, path: Path) -> None:
    """Print what a file of prompts holds and what it would cost, whole and at half price as batches often do."""
    tokens, money = found.tokens, cost(found.tokens, prices)
    before = f" ({found.answered:,} more are answered already)" if found.answered else ""
    price = f"at the prices of queries.endpoint {money:.4g} in money, at half of them {money / 2:.4g}"
    parts = [
        f"{path}: {found.prompts:,} prompts{before}",
        f"about {tokens.prompt + tokens.completion:,} tokens ({tokens.prompt:,} to read, at most {tokens.completion:,} "
        "to write)",
        price if money or not tokens.requests else "queries.endpoint names no prices",
    ]
    Console(highlight=False).print(", ".join(parts), soft_wrap=True, markup=False)


def print_answers(found: AnswerFile, endpoint: EndpointSettings, path: Path) -> None:
    """Print what was taken of a file of answers, what was not and why, and what is still missing."""
    tokens = found.tokens
    spent = f"{tokens.prompt + tokens.completion:,} tokens, {cost(tokens, endpoint):.4g} in money"
    said = [f"{path}: {found.taken:,} answers taken ({spent})", *found.counted()]
    left = f"{found.missing:,} prompts have no answer yet" if found.missing else "every prompt has its answer"
    Console(highlight=False).print(f"{', '.join(said)}; {left}", soft_wrap=True, markup=False)
    if found.cut:
        _warn(Console(stderr=True, highlight=False), cut_warning(found.cut, endpoint))
    for name, count in found.others.most_common():
        _warn(Console(stderr=True, highlight=False), _other_model_warning(name, count, endpoint))


def _other_model_warning(name: str, count: int, endpoint: EndpointSettings) -> str:
    """What to tell the user of so many answers that another model wrote."""
    answers = "1 answer says" if count == 1 else f"{count:,} answers say"
    return (
        f"{answers} that {name!r} wrote, and queries.endpoint.model is {endpoint.model!r}, to which they are counted; "
        "if these are two models, name the one that writes there, and write the prompts anew with --batch-out"
    )


def print_estimate(found: Estimate, console: Console) -> None:
    """Print what is left to do: a row for each kind of work, then all of it."""
    console.width = max(console.width, 100)
    if not found.works:
        console.print("nothing is left to do but what takes no time to speak of")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="left to do", title_justify="left")
    table.add_column("stage")
    table.add_column("what")
    paid = ("tokens, at most", "money, at most") if found.tokens != Tokens() else ()
    for heading in ("number", "time", "disk", *paid):
        table.add_column(heading, justify="right")
    for work in found.works:
        table.add_row(*_estimate_row(work)[: len(table.columns)])
    table.add_section()
    time = ("" if found.timed else "more than ") + lasting(found.seconds)
    total = ("all", "", "", time, _bytes(found.disk), _tokens(found.tokens), _money(found.money))
    table.add_row(*total[: len(table.columns)])
    console.print(table)
    for note in found.notes:
        console.print(f"[bold]{escape(note)}[/]", soft_wrap=True)


def _estimate_row(work: Work) -> tuple[str, ...]:
    return (
        work.stage,
        escape(work.what),
        ("about " if work.about else "") + f"{work.count:,}",
        "?" if work.seconds is None else lasting(work.seconds),
        _bytes(work.disk),
        _tokens(work.tokens),
        _money(work.money),
    )


def _tokens(tokens: Tokens) -> str:
    return f"{tokens.prompt + tokens.completion:,}" if tokens != Tokens() else ""


def _money(money: float) -> str:
    return f"{money:,.4g}" if money else ""


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB" if count >= 1e6 else ""


def figures_of(folders: Mapping[str, Path]) -> dict[str, Any] | None:
    """The evaluation's results with the seconds and the memory of all stages; None where nothing was measured."""
    if "evaluate" not in folders:
        return None
    manifests = [read_json(folder / "manifest.json") for folder in folders.values()]
    return {
        **read_json(folders["evaluate"] / "results.json"),
        **costs(manifests),
        "stage_seconds": {manifest["stage"]: manifest["seconds"] for manifest in manifests},
        "versions": manifests[0]["versions"],
    }


def write_results(folders: Mapping[str, Path], path: Path) -> None:
    """Write the figures of a run that measured something.

    Raises:
        RunError: the file cannot be written.
    """
    figures = figures_of(folders)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            write_json(partial, figures)


def copy_file(file: Path, copy: Path) -> None:
    """Copy a file to a path, whose folder is made.

    Raises:
        RunError: the copy cannot be written.
    """
    with writing(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(copy) as partial:
            partial.write_bytes(file.read_bytes())


def link_folder(folder: Path, link: Path) -> None:
    """Point a symbolic link to a folder; an older link is replaced, anything else is left alone.

    Raises:
        RunError: something that is no link lies there, or none can be made.
    """
    if link.exists() and not link.is_symlink():
        raise RunError(f"{link}: exists and is not a link; choose another --model")
    fresh = link.with_name(f".{link.name}.{os.getpid()}.part")
    with writing(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.resolve(), target_is_directory=True)
        fresh.replace(link)  # whoever serves the old one finds it there until the new one is


def print_results(folders: Mapping[str, Path]) -> None:
    """Print the table: a row per language and the mean, then differences, p-values, tie rates and targets."""
    results = read_json(folders["evaluate"] / "results.json")
    spent = costs([read_json(folder / "manifest.json") for folder in folders.values()])
    console = Console(highlight=False, width=max(Console().width, 118))
    console.print(_table(results))
    console.print(_ways_table(results))
    print_answer(results, console)
    for target in results["run"]["targets"]:
        verdict = "[green]met   [/]" if target["met"] else "[red]MISSED[/]"
        console.print(f"{verdict} {target['name']}: {target['value']:.4g} (target {target['bound']})")
    console.print(
        f"{spent['seconds']:,.0f} s in all stages, at most {spent['peak_memory_bytes'] / 2**30:.1f} GiB of memory. "
        "The corpus's documents were adapted to; its questions were not seen."
    )


def _table(results: Mapping[str, Any]) -> Table:
    depth, measure, found = results["depth"], results["main_measure"], set_of_run(results)
    table = Table(
        title=f"{measure} on {found['questions']:,} unseen questions; students rerank the best {depth}",
        caption="As served: what a client gets who sends the documents in the first stage's order and nothing else.",
        box=box.SIMPLE_HEAD,  # without lines between the columns all headings fit into the width
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    for number, (_, heading) in enumerate(COLUMNS):
        group = "" if number < 4 else "\nas served\non BM25" if number < 7 else "\nas served\non hybrid"
        table.add_column(f"{heading}[dim]{group}[/]", justify="right")
    for language, group in found["groups"]["language"].items():
        table.add_row(language, *(f"{group['figures'][system]:.3f}" for system, _ in COLUMNS))
    table.add_section()
    table.add_row("mean", *(f"[bold]{found['figures'][system][measure]:.3f}[/]" for system, _ in COLUMNS))
    of = {entry["system"]: entry for entry in split_comparisons(found)[0]}
    table.add_row("difference", *(f"{100 * of[s]['difference']:+.1f}" if s in of else "" for s, _ in COLUMNS))
    table.add_row("p (Holm)", *(f"{of[s]['p_holm']:.4f}" if s in of else "" for s, _ in COLUMNS))
    table.add_row("tie rate", *(f"{found['tie_rate'][system]:.3f}" for system, _ in COLUMNS))
    return table


def _ways_table(results: Mapping[str, Any]) -> Table:
    """A row for each first stage that is reranked, the user's own among them: alone, and with the merged student."""
    table = Table(
        title=f"the merged student in each way, on the best {results['depth']}",
        caption="As served: sent in the first stage's order. With scores: these sent along. Alone: its own score only.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("first stage", "", *(h for way in WAYS.values() for h in (way, "difference", "p (Holm)"))):
        table.add_column(heading, justify="right" if table.columns else "left")
    measured = set_of_run(results)
    of = {entry["system"]: entry for entry in split_comparisons(measured)[0]}
    means = {name: figures[results["main_measure"]] for name, figures in measured["figures"].items()}
    for first_stage in (one["name"] for one in measured["systems"] if f"merged~{one['name']}" in means):
        cells = [f"{means[first_stage]:.3f}"]
        for system in (f"merged{sign}{first_stage}" for sign in WAYS):
            found = of[system]
            cells += [f"{means[system]:.3f}", f"{100 * found['difference']:+.1f}", f"{found['p_holm']:.4f}"]
        table.add_row(first_stage, *cells)
    return table


def print_stages(stages: Sequence[StageFacts]) -> None:
    """Print what each stage kept and dropped, why, and how that is spread over languages."""
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage")
    for heading in ("seconds", "GiB", "came", "kept"):
        table.add_column(heading, justify="right")
    table.add_column("dropped, and why")
    for stage in stages:
        why = "\n".join(_why(stage, reason) for reason in stage.dropped)
        came = stage.kept + sum(stage.dropped.values())
        memory = f"{stage.memory / 2**30:.1f}"
        table.add_row(stage.name, f"{stage.seconds:,.1f}", memory, f"{came:,}", f"{stage.kept:,}", why)
    console.print(table)
    for stage in stages:
        if stage.read:
            console.print(f"{stage.name}, {stage.read}", markup=False, soft_wrap=True)
        if skipped := skipped_line(stage.skipped):
            console.print(f"{stage.name}, {skipped}", markup=False, soft_wrap=True)
    spread = [stage for stage in stages if stage.kept_of]
    languages = sorted({language for stage in spread for language in (*stage.kept_of, *stage.dropped_of)})
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption="kept (dropped)")
    table.add_column("language")
    for stage in spread:
        table.add_column(stage.name, justify="right")
    for language in languages:
        table.add_row(language, *(_kept_and_dropped(stage, language) for stage in spread))
    console.print(table)


def print_spent(spent: Mapping[str, Spending]) -> None:
    """Print what models behind servers have cost the run folder; nothing where there are none."""
    if not spent:
        return
    table = Table("asked", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption="what servers have cost so far")
    for heading in ("requests", "tokens of prompts", "of answers", "money"):
        table.add_column(heading, justify="right")
    for name, of in sorted(spent.items()):
        tokens = [f"{count:,}" for count in (of.tokens.requests, of.tokens.prompt, of.tokens.completion)]
        table.add_row(escape(name), *tokens, f"{of.money:.4g}" if of.money else "")
    Console(highlight=False).print(table)


def _why(stage: StageFacts, reason: str) -> str:
    """How many records a stage left out for a reason, and of which languages."""
    of = {language: reasons[reason] for language, reasons in stage.dropped_of.items() if reason in reasons}
    spread = ", ".join(f"{language} {count:,}" for language, count in sorted(of.items()))
    return f"{stage.dropped[reason]:,} {escape(reason)}" + (f" ({spread})" if spread else "")


def _kept_and_dropped(stage: StageFacts, language: str) -> str:
    dropped = sum(stage.dropped_of.get(language, {}).values())
    return f"{stage.kept_of.get(language, 0):,}" + (f" ({dropped:,})" if dropped else "")


def print_history(history: History, top: int) -> None:
    """Print where a query came from, what became of it, and what first stage and teacher said of its candidates."""
    query, console = history.query, Console(highlight=False)
    fate = f"dropped in {history.dropped[0]}: {history.dropped[1]}" if history.dropped else ""
    if history.split:
        fate = f"{history.split}, domain {history.domain}"
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in (
        ("query", query.text),
        ("id", query.query_id),
        ("language", query.language),
        ("written by", _writer(query)),
        ("seed", str(query.seed)),
        ("from", query.document_id or "no document"),
        ("", _source(history)),
        ("became", fate or "not in any list"),
    ):
        facts.add_row(name, escape(value))
    console.print(facts)
    if not history.entries:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("rank", "first stage", "teacher", "bin", "label"):
        table.add_column(heading, justify="right")
    table.add_column("document", overflow="fold")
    for entry in history.entries[:top]:
        own = "[bold]" if entry.document.doc_id == query.document_id else ""
        said = (entry.teacher, entry.bin, entry.label)
        cells = [f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value) for value in said]
        text = f"{own}{escape(entry.document.doc_id)}: {escape(clip(' '.join(entry.document.text.split()), 90))}"
        table.add_row(str(entry.rank), f"{entry.first_stage:.4f}", *cells, text)
    console.print(table)
    if len(history.entries) > top:
        console.print(f"{len(history.entries) - top} more; --top {len(history.entries)} shows them")


def _source(history: History) -> str:
    """The beginning of the document that a query was written from."""
    if history.source:
        return clip(" ".join(history.source.text.split()), 300)
    return "not in the corpus" if history.query.document_id else "typed by somebody, as a log says"


def _writer(query: Query) -> str:
    """Who wrote a query, and how it was asked for."""
    facts = [
        query.generator if query.model in ("", query.generator) else f"{query.generator} ({query.model})",
        query.kind,
        f"prompt {query.prompt}" if query.prompt else "",
        "" if query.temperature is None else f"temperature {query.temperature:g}",
    ]
    return ", ".join(filter(None, facts))


def print_adapted(adapted: Adapted) -> None:
    """Print what every domain gained or lost."""
    table = Table("domain", box=box.SIMPLE, title="agreement with the teacher on held-out queries, nDCG@10")
    for heading in ("as it came", "specialist", "result", "change"):
        table.add_column(heading, justify="right")
    for domain, (before, specialist, after) in adapted.agreement.items():
        table.add_row(domain, f"{before:.4f}", f"{specialist:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    console = Console()
    console.print(table)
    if adapted.order == ["untrained"] or adapted.order == ["start"]:
        console.print("nothing that was learnt is better: the result is the model as it came")
    elif all(after <= before for before, _, after in adapted.agreement.values()):
        console.print("nothing that was learnt is better on any domain")


def print_since(since: Since, compared: Comparison | None) -> None:
    """Print what changed since the run before, what that made anew, and whether the new model is better."""
    console = Console(highlight=False)
    documents = ", ".join(f"{count:,} {what}" for what, count in since.documents.items())
    work = ", ".join(f"{share.new:,} of {share.all:,} {what}" for what, share in since.work.items())
    console.print(f"documents since the run before: {documents}; new work: {work}", soft_wrap=True)
    if compared is not None:
        found = verdict(compared.after - compared.before, compared.p, (), "the new model")
        console.print(f"[bold]{escape(found.text)}[/] {escape(_told_of_both(compared))}", soft_wrap=True)
    console.print(f"the model before stays: {escape(str(since.model))}", soft_wrap=True)


def _told_of_both(compared: Comparison) -> str:
    """The figures of both models on the same questions, in a sentence."""
    low, high = (signed(bound) for bound in compared.interval)
    where = (
        "held-out queries that neither learnt from" if compared.judged is None else f"questions of {compared.judged}"
    )
    change = signed(compared.after - compared.before)
    return (
        f"nDCG@10 as served on BM25 is {compared.after:.3f} after {compared.before:.3f}, {change} points ({low} to "
        f"{high}), on {compared.questions:,} {where}; {compared.report}"
    )


def print_graded(results: Mapping[str, Any], judged: Path) -> None:
    """Print whether graded questions say that adaptation helped; of a set with all judgements, what its tests say."""
    console = Console(highlight=False)
    answered = graded_answer(results, "adapted~bm25", "before~bm25", "the adapted model")
    if answered is None:
        console.print(f"measured on {escape(str(judged))}: see graded/report.html in the run folder", soft_wrap=True)
        return
    verdict, said = answered
    console.print(f"[bold]{escape(verdict.text)}[/] {escape(said)} ({escape(str(judged))})", soft_wrap=True)


def print_weighed(found: Weighed) -> None:
    """Print what each weight does, what was left out, and where the weights lie."""
    table = Table(
        "first stage",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title="nDCG@10 of each query's own document",
        caption="both: each query by the weight that the other four fifths choose; p: paired sign flips",
    )
    for heading in ("queries", "itself", "model", "both", "weight", "p (model)", "p (itself)"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(*_weighed_row(row))
    console = Console(highlight=False)
    console.print(table)
    for note in found.notes:
        console.print(f"- {escape(note)}", soft_wrap=True)
    if ORDER not in found.kept:
        console.print(f"- the order's weight, {found.order:g}, was not kept; --order keeps it", soft_wrap=True)
    console.print(f"weights of {', '.join(found.kept)}: {found.model / 'tamis.json'}", soft_wrap=True)


def _weighed_row(row: WeightRow) -> tuple[str, ...]:
    figures = [f"{value:.3f}" for value in (row.first, row.alone, row.together)]
    tests = [f"{p:.4f}" for p in (row.p_alone, row.p_first)]
    name = f"  {row.language}" if row.language else row.name
    return escape(name), f"{row.queries:,}", *figures, f"{row.weight:g}", *tests
