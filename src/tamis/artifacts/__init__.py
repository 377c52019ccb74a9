"""What a run leaves on disk: one folder per stage and key, written whole or not at all.

    RUN/run.json                     which recipe this folder belongs to
    RUN/STAGE/KEY/manifest.json      key, settings, counts, drops by reason, file hashes, versions, seconds
    RUN/STAGE/KEY/*.parquet, ...     the stage's result
    RUN/items.sqlite                 finished items of long stages: a kill loses at most one batch
    CACHE/answers.sqlite             what teachers and language models answered, whatever run asked

A stage is reused when its key is the same: the hash of its name, its version, its settings and the keys of what it
reads. Old results stay beside new ones; delete the folder to be rid of them.
"""

from tamis.artifacts.disk import read_json, write_json, writing
from tamis.artifacts.item_store import ItemStore, open_cache, stored_items
from tamis.artifacts.kept import Kept, kept_in
from tamis.artifacts.keys import file_hash, item_key, stage_key
from tamis.artifacts.record_files import (
    Record,
    RecordWriter,
    drop_counts,
    drop_notes,
    find_records,
    read_column,
    read_groups,
    read_records,
    read_stream,
    split_dropped,
    stream_columns,
    write_records,
)
from tamis.artifacts.run_folder import (
    RunFolder,
    finished_results,
    folder_bytes,
    newest_results,
    results_behind,
    versions,
)

__all__ = [
    "ItemStore",
    "Kept",
    "Record",
    "RecordWriter",
    "RunFolder",
    "drop_counts",
    "drop_notes",
    "file_hash",
    "find_records",
    "finished_results",
    "folder_bytes",
    "item_key",
    "kept_in",
    "newest_results",
    "open_cache",
    "read_column",
    "read_groups",
    "read_json",
    "read_records",
    "read_stream",
    "results_behind",
    "split_dropped",
    "stage_key",
    "stored_items",
    "stream_columns",
    "versions",
    "write_json",
    "write_records",
    "writing",
]
