"""What grades of few questions say of a pair of systems, in words."""

from collections.abc import Mapping
from typing import Any, Final

from tamis.report.changes import Results
from tamis.report.verdict import Verdict
from tamis.report.wording import signed

MOST_UNGRADED: Final = 0.1
"""Share of a system's best ten documents from which a reader is told that they have no grade."""


def graded_answer(results: Results, system: str, baseline: str, what: str, how: str = "") -> tuple[Verdict, str] | None:
    """The verdict by grades of few questions, and the sentence that it follows from.

    Args:
        results: Content of results.json.
        system: What may be better.
        baseline: Than what.
        what: What would be deployed, in words.
        how: What to say after a yes.

    Returns:
        None where the call is not about one folder of grades.
    """
    wanted = {"system": system, "baseline": baseline, "measure": results["main_measure"]}
    grades = next(iter(results["sets"].values())).get("grades", {}) if len(results["sets"]) == 1 else {}
    one = next((one for one in grades.get("comparisons", ()) if wanted.items() <= one.items()), None)
    if one is None:
        return None
    more = f"{one['more']:,} more question{'s' * (one['more'] != 1)}"
    texts = {
        "deploy": Verdict(f"Deploy {what}{how}.", "gain", True),
        "do not": Verdict(f"Do not deploy {what}.", "loss"),
        "ask": Verdict(f"Ask {more} before you deploy {what}.", "same"),
    }
    return texts[one["verdict"]], said_of(grades, one)


def said_of(grades: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """What grades say of a pair of systems, in a sentence."""
    found = one["both"] or one["alone"]
    if found is None:
        found, who = (
            one["model_alone"],
            f"a model's grades of {grades['model']:,} questions alone, which nobody checked",
        )
    elif one["both"]:
        who = f"{grades['person']:,} questions of a person and {grades['model']:,} of a model"
    else:
        who = f"{grades['person']:,} questions of a person"
    if found is None:
        return f"too few questions are graded ({grades['person']:,}) to say anything of {one['measure']}."
    lower, upper = (signed(end) for end in found["interval"])
    moved = f"{signed(found['difference'])} points of {one['measure']} against {one['baseline']}"
    return f"{moved}, 95 % interval {lower} to {upper}, by {who}."
