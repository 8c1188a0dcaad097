"""The data dictionary: every column of a run's row and of results.csv, with its type, unit and meaning.

`singtech store columns=true` prints it. Increase `SCHEMA` with each change that older code would misread; older code
neither reads nor changes such rows.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from singtech import metrics
from singtech.io.terminal import format_table
from singtech.techniques import TECHNIQUES

SCHEMA = 1  # 0: rows without a schema; their `seconds` include shared phases, and they have no digests
PROTOCOL = 1  # increase it when a metric changes its meaning
DTYPES = {"number": "float64", "count": "float64", "whole": "int64"}  # types of columns that are not text


@dataclass(frozen=True)
class Column:
    """A column. Its type is text, number (a float), count (a whole number) or whole (a count that is never unknown)."""

    name: str
    type: str
    unit: str
    meaning: str


CONDITION = (
    Column("run", "text", "", "name of the run's folder below runs/"),
    Column("condition", "text", "", "condition, then all other settings, corpus and fold that differ from the paper's"),
    Column("data", "text", "", "corpus"),
    Column("fold", "text", "", 'fold of the singers; "" on the corpus\'s own split'),
    Column("model", "text", "", "network, a file of conf/model; the name of a scored system"),
    Column("dc", "text", "", "which layers are deformable, a file of conf/dc"),
    Column("strategy", "text", "", "training strategy, a file of conf/strategy; scored for a system trained elsewhere"),
    Column("alpha", "number", "", "smoothing of the loss weights (Eq. 2); none of a scored system"),
    Column("seed", "whole", "", "seed of initial weights, clip order and dropout"),
    Column("rounding", "whole", "", "number of a perturbation of the initial weights by 1e-7; 0 for none"),
    Column(
        "settings", "text", "JSON", "typed settings that differ from the paper's, by the names of Hydra's overrides"
    ),
)
METRICS = tuple(Column(name, "number", "0 to 1", metrics.METRICS[name].label) for name in metrics.list_overall())
TECHNIQUE_METRICS = tuple(
    Column(f"{prefix}{technique}", "number", "0 to 1", metrics.label(f"{prefix}{technique}"))
    for prefix in metrics.list_prefixes()
    for technique in TECHNIQUES
)
CIRCUMSTANCES = (
    Column("validation_f1", "number", "0 to 1", "macro-F1 on validation singers"),
    Column(
        "head_gap",
        "number",
        "",
        "how much the loss of a re-trained head on the training clips, with a penalty on its weights, is above its "
        "minimum; the penalty is retraining.penalty for strategy=crt_minimum, else 1e-3",
    ),
    Column("parameters", "count", "", "parameters of the network"),
    Column("epochs", "count", "epochs", "epochs of all phases, shared ones included"),
    Column("seconds", "number", "s", "training time of the phases that this run trained: sums over rows are right"),
    Column("seconds_shared", "number", "s", "training time of phases that another run trained: part of its `seconds`"),
    Column("clips_train", "count", "clips", "training clips"),
    Column("training_counts", "text", "clips", "training clips of each technique, as in belt=333 breathy=360"),
    Column("clips_test", "count", "clips", "test clips, or test recordings if scoring.unit=recording"),
    Column("singers_test", "text", "", "test singers"),
    Column("device", "text", "", "processor that trained the first phase"),
    Column("threads", "count", "", "threads of the processor that trained the first phase; 0 on a GPU"),
    Column("precision", "text", "", "floating-point precision of training"),
    Column("torch", "text", "", "version of torch"),
    Column("commit", "text", "", "commit of the code; +dirty and a hash if it had changes"),
    Column("status", "text", "", "running, interrupted, failed or complete"),
    Column("reason", "text", "", "why the run failed"),
    Column("protocol", "text", "", "version of the protocol and hash of clips, split and meaning of the metrics"),
    Column("data_fingerprint", "text", "", "hash of the training and test clips"),
    Column("corpus_fingerprint", "text", "", "hash of all clips of the corpus"),
    Column("recipe", "text", "", "hash of the code and settings files outside the package that the run uses"),
    Column("phases", "text", "", "keys of the stored phases; none of a scored system"),
    Column("made_by", "text", "", "version and commit that trained each phase; the name of a scored system"),
    Column("finished", "text", "UTC", "when the run ended"),
    Column("versions", "text", "", "versions of the libraries that decide numbers"),
    Column("command", "text", "", "command that makes the run again"),
    Column("variant", "text", "", "settings of a run that an earlier version stored, instead of `settings`"),
    Column("schema", "whole", "", "version of this dictionary that the row follows; 0 for rows without one"),
)
INTEGRITY = (
    Column("files", "text", "", "SHA-256, first 16 digits, of the run's other files; in row.json only"),
    Column("digest", "text", "", "SHA-256, first 16 digits, of the row's other entries; in row.json only"),
)
DIFFERENCES = Column("differences", "dict", "", "typed settings that differ from the condition's; in the frame only")
COLUMNS = (*CONDITION, *METRICS, *TECHNIQUE_METRICS, *CIRCUMSTANCES, *INTEGRITY, DIFFERENCES)
_TYPES = {column.name: column.type for column in COLUMNS}


def column_type(name: str) -> str:
    """The type of a column: number for a user's own metric or technique too, "" if it is unknown."""
    is_metric = metrics.is_metric(name.removeprefix("validation_"))
    return _TYPES.get(name, "number" if is_metric else "")


def is_share(name: str) -> bool:
    """Whether a column holds values between 0 and 1."""
    return (metrics.split_column(name) or [name.removeprefix("validation_")])[0] in metrics.SHARES


def protocol(row: Mapping) -> str:
    """Make the version and hash of the protocol, as "1:0123456789abcdef". The hash covers clips, split and version."""
    names = ("data_fingerprint", "fold", "singers_test", "clips_train", "clips_test")
    content = json.dumps([PROTOCOL, *(row.get(name) for name in names)])
    return f"{PROTOCOL}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def format_dictionary() -> str:
    """Format the data dictionary as a table."""
    lines = [(column.name, column.type, column.unit, column.meaning) for column in COLUMNS]
    return format_table(["column", "type", "unit", "meaning"], lines, words=4)
