"""Judgements for people who have none: a page for grading, and a model that grades beside them."""

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.options import AsJson, Yes, fields_of, print_json, quiet_libraries
from tamis.errors import SettingsError
from tamis.extras import require

if TYPE_CHECKING:
    from tamis.labelling.pools import Pools
    from tamis.labelling.wanted import Wanted

DEPTH = 10  # as `tamis.labelling.pools` has it, which takes longer to load than `--help` may
"""Passages of each system that are graded, where nobody says how many."""

DECLINED = 1
"""Exit status where the user was asked and did not agree."""

Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|DOCUMENTS|FOLDER",
        help="Folder of a run, documents (BM25 searches them), or a folder of pools that was made before",
    ),
]
Queries = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Questions: a .txt file with one a line, rows (.jsonl, .csv, .tsv, .parquet), a log; default: "
        "some that the run wrote and held out",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="BEIR folder for pools and grades; default: RUN/judged")
]
Runs = Annotated[
    list[str] | None,
    typer.Option("--runs", metavar="NAME=FILE", help="TREC run of another system for the same questions; repeatable"),
]
Depth = Annotated[int, typer.Option(min=1, help="Number of best passages of each system that are graded")]
Questions = Annotated[
    int, typer.Option(min=0, help="Number of questions, drawn by a hash of their ids; 0: all of a file, 30 of a run's")
]


def label(
    source: Source,
    queries: Queries = None,
    out: Out = None,
    runs: Runs = None,
    depth: Depth = DEPTH,
    questions: Questions = 0,
    port: Annotated[int, typer.Option(help="Port of the page on this machine; 0: any that is free")] = 8010,
) -> None:
    """Grade the best passages of several systems on a page, blind; the grades become a judged set."""
    require("tamis label", "serve")
    require("tamis label", "train")
    from tamis.cli.label_tables import print_end, print_pools, print_start
    from tamis.labelling.serve import serve_page

    folder, pools = _pools(source, queries, out, runs, depth, questions)
    print_pools(folder, pools)
    print_end(folder, serve_page(folder, pools, port, print_start))


def judge(
    source: Source,
    url: Annotated[str, typer.Option(help="Address of the model's server up to the version: http://localhost:8000/v1")],
    model: Annotated[str, typer.Option(help="Name of the model, as the server calls it")],
    queries: Queries = None,
    out: Out = None,
    runs: Runs = None,
    depth: Depth = DEPTH,
    questions: Questions = 0,
    prompt: Annotated[
        str,
        typer.Option(
            metavar="yes-no|scale|FILE",
            help="Prompt: yes-no (thirds of the probability of yes), scale (0, 1 or 2), or a YAML file of your own",
        ),
    ] = "yes-no",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting as KEY=VALUE: --set judge.budget_money=5 --set requests.concurrency=2"),
    ] = None,
    yes: Yes = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it costs at most, and stop")] = False,
    as_json: AsJson = False,
) -> None:
    """Have a language model grade the same passages, and hold its grades against those of people."""
    require("tamis judge", "train")
    from tamis.cli.judge_tables import print_judged
    from tamis.cli.label_tables import print_pools
    from tamis.cli.printing import agreed, print_estimate
    from tamis.labelling.judge import judging_settings, opened_judge, read_judge_prompt

    settings, words = judging_settings(url, model, change or ()), read_judge_prompt(prompt)
    folder, pools = _pools(source, queries, out, runs, depth, questions)
    print_pools(folder, pools, len(pools.pools))
    with opened_judge(folder, pools, settings, words) as asked:
        left = asked.estimate()
        if estimate:
            from rich.console import Console

            print_estimate(left, Console(highlight=False))
            return
        if not agreed(left, yes):
            typer.echo("tamis: nobody was asked", err=True)
            raise typer.Exit(DECLINED)
        judged = asked.judge()
    if as_json:
        print_json({**fields_of(judged), "folder": folder})
    else:
        print_judged(folder, model, judged)


def _refuse_unused(
    source: Path, queries: Path | None, out: Path | None, runs: list[str] | None, depth: int, questions: int
) -> None:
    """Refuse what changes nothing of pools that are there.

    Raises:
        SettingsError: Names the option.
    """
    elsewhere = out is not None and out.resolve() != source.resolve()
    given = {
        "--queries": queries,
        "--runs": runs,
        "--out": elsewhere,
        "--depth": depth != DEPTH,
        "--questions": questions,
    }
    for option in (option for option, value in given.items() if value):
        raise SettingsError(
            f"{option}: {source} holds pools, which are graded as they are; leave it out, or put more into them with "
            f"the run or the documents in its place: RUN|DOCUMENTS --queries FILE --out {source}"
        )


def _pools(
    source: Path, queries: Path | None, out: Path | None, runs: list[str] | None, depth: int, questions: int
) -> tuple[Path, "Pools"]:
    """The pools that a command speaks of: those of a folder, or new ones that are put into it."""
    from tamis.labelling.grade_log import LOG, GradeLog
    from tamis.labelling.pools import POOLS, joined, read_pools, write_pools
    from tamis.labelling.wanted import Wanted, is_run, runs_named
    from tamis.whole_folder import require_free

    if (source / POOLS).is_file() and not is_run(source):
        _refuse_unused(source, queries, out, runs, depth, questions)
        return source, read_pools(source)
    wanted = Wanted(queries, questions, depth, runs_named(runs or ()))
    folder = out or (source / "judged" if is_run(source) else Path("judged"))
    if not (folder / POOLS).is_file():
        require_free(folder)  # told before the systems are asked
    # Refused while a page has the pools open, which would go on with the old ones.
    with closing(GradeLog(folder)) if (folder / LOG).is_file() else nullcontext():
        pools = _found_pools(source, wanted)
        if (folder / POOLS).is_file():
            pools = joined(read_pools(folder), pools)
        write_pools(folder, pools)
    return folder, pools


def _found_pools(source: Path, wanted: "Wanted") -> "Pools":
    """What the systems of a run, or BM25 over documents, find now."""
    from tamis.labelling.wanted import is_run

    if is_run(source):
        from tamis.labelling.run_pools import pools_of_run  # brings torch

        quiet_libraries()
        return pools_of_run(source, wanted)
    from tamis.labelling.document_pools import pools_of_documents
    from tamis.named_paths import check_documents

    check_documents(source)
    return pools_of_documents(source, wanted)
