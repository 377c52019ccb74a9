"""What `tamis judge` says on the terminal: first how far the model grades as people do, then what it graded."""

from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tamis.labelling.grade_log import GRADES
from tamis.labelling.grading import told_alpha
from tamis.labelling.judge import QRELS, Agreement, Judged

FEW: Final = 100
"""Passages below which agreement is little known: at 100, Cohen's standard error gives a kappa of .67 about ± .13."""

NOBODY: Final = (
    "- no passage has a person's grade: nothing says whether the model can be trusted; grade some with tamis label"
)


def print_judged(folder: Path, model: str, judged: Judged) -> None:
    """Say how far a model grades as people do, and then what it graded."""
    console = Console(highlight=False)
    if judged.agreement is None:
        console.print(NOBODY, soft_wrap=True)
    else:
        _print_agreement(console, model, judged.agreement)
    graded = sum(map(len, judged.grades.values()))
    spent = f", {judged.money:.4g} in money so far" if judged.money else ""
    console.print(f"- {escape(model)} graded {graded:,} passages of {len(judged.grades):,} questions{spent}")
    if judged.undecided:
        console.print(f"- {judged.undecided:,} answers are not understood; their passages have no grade")
    if judged.failed:
        console.print(f"- {judged.failed:,} passages got no answer; run the same command again")
    if judged.grades:
        console.print(f"the model's judgements: {escape(str(folder / QRELS))}", soft_wrap=True)


def _print_agreement(console: Console, model: str, found: Agreement) -> None:
    table = Table(
        "people's grade",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title=f"people and {model} on {found.passages:,} passages",
        title_justify="left",
    )
    for grade in GRADES:
        table.add_column(f"model's {grade}", justify="right")
    for grade, row in zip(GRADES, found.table, strict=True):
        table.add_row(str(grade), *(f"{count:,}" for count in row))
    console.print(table)
    kappas = f"Cohen's kappa {_figure(found.kappa)}, weighted {_figure(found.weighted_kappa)}"
    console.print(f"- Krippendorff's alpha {told_alpha(found.alpha)}; {kappas}", soft_wrap=True)
    if found.passages < FEW:
        console.print(f"- {found.passages:,} passages are few: grade some {FEW:,} before the model is trusted")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
