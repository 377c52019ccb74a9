"""What every stage writes: its records, what it dropped and why, and the counts of both."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tamis.artifacts import Record, RecordWriter, drop_counts, write_records
from tamis.records import Dropped, Facts


def write_stream(folder: Path, stage: str, records: Iterable[Record | Dropped], kind: type[Record]) -> Facts:
    """As `write_output`, for records that come one by one and whose languages are not counted."""
    kept, reasons = 0, Counter[str]()
    with (
        RecordWriter(folder / f"{stage}.parquet", kind) as file,
        RecordWriter(folder / "dropped.parquet", Dropped) as dropped,
    ):
        for record in records:
            if isinstance(record, Dropped):
                dropped.write(record)
                reasons[record.reason] += 1
            else:
                file.write(record)
                kept += 1
    return {"counts": {"in": kept + reasons.total(), "kept": kept, "dropped": dict(reasons.most_common())}}


def write_output(folder: Path, stage: str, kept: Sequence[Any], kind: type, dropped: Sequence[Dropped]) -> Facts:
    """Write what a stage kept and dropped; returns the counts of both, and of languages where records have one."""
    write_records(folder / f"{stage}.parquet", kept, kind)
    write_records(folder / "dropped.parquet", dropped, Dropped)
    facts: Facts = {"counts": {"in": len(kept) + len(dropped), "kept": len(kept), "dropped": drop_counts(dropped)}}
    if kept and hasattr(kept[0], "language"):
        facts["languages"] = dict(sorted(Counter(record.language for record in kept).items()))
    return facts
