"""Malformed files, and job files that say what they may not."""

from __future__ import annotations

from tests.cli.bad_inputs.case import JOB, SEARCH, command_case, file_case, job_case

BILLION_LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP = "model: " + "[" * 4000 + "]" * 4000 + "\n"

FILES = (
    file_case("empty file", "", "job.yaml", "is empty"),
    file_case("only comments", "# nothing\n\n", "job.yaml", "is empty", SEARCH),
    file_case("binary file", b"\x7fELF\x00\x01\x02", "job.yaml", "binary"),
    file_case("not UTF-8", b"model: llama3-8b\nname: \xff\xfe\n", "job.yaml:2", "UTF-8"),
    file_case("huge file", b"# " + b"x" * (9 * 2**20), "job.yaml", "larger than 8 MiB", SEARCH),
    file_case("cyclic aliases", "model: &m {a: *m}\n", "job.yaml:1", "alias"),
    file_case("alias bomb", BILLION_LAUGHS, "job.yaml", "alias", "check job.yaml --layout tp=1"),
    file_case("deep nesting", DEEP, "job.yaml", "deep"),
    file_case("duplicate keys", JOB + "devices: 8\n", "job.yaml:12", "devices", "max job.yaml"),
    file_case("list instead of mapping", "- model\n- cluster\n", "job.yaml:1", "mapping"),
    file_case("scalar instead of mapping", "42\n", "job.yaml", "mapping", SEARCH),
    file_case("no YAML", "model: [llama3-8b\ncluster: x\n", "job.yaml", "YAML"),
    file_case(
        "tag that would run Python",
        "model: !!python/object/apply:os.system ['touch owned']\n",
        "job.yaml:1",
        "tag",
    ),
    file_case(
        "tab indentation", "model: llama3-8b\ntraining:\n\tglobal_batch: 3\n", "job.yaml:3", "", SEARCH
    ),
    command_case("missing file", "search nowhere.yaml -o out.yaml", "", "nowhere.yaml: does not exist"),
    command_case("a folder", "estimate . --layout tp=1 -o out.yaml", "", ".: is a directory"),
    command_case("output folder absent", "estimate job.yaml --layout tp=8 -o none/out.yaml", "", "none"),
    command_case("output is a folder", "search job.yaml -o .", "", "."),
    command_case("picture folder absent", "search job.yaml -o out.yaml --plot none/out.png", "", "none"),
    command_case("picture of no known kind", "search job.yaml -o out.yaml --plot out.doc", "", ".doc"),
    command_case(
        "setting of a wrong unit",
        "max job.yaml --set training.seq_len=4GB",
        "command line: training.seq_len",
        "4GB",
    ),
    command_case(
        "devices of the command line",
        "search job.yaml -o out.yaml --devices 12",
        "command line: devices",
        "8 or 16",
    ),
    command_case(
        "negative token budget",
        "estimate job.yaml --layout tp=8 --tokens -5T",
        "command line: training.tokens",
        "-5T",
    ),
)

JOBS = (
    job_case(
        "unknown key", "  seq_len:", "  seqlen:", "job.yaml:6", "training.seqlen", "did you mean 'seq_len'?"
    ),
    job_case(
        "unknown section", "search:", "serch:", "job.yaml:10", "serch", "did you mean 'search'?", SEARCH
    ),
    job_case("wrong unit", "4096", "4 GB", "job.yaml:6", "training.seq_len", "4 GB"),
    job_case("negative batch", "batch: 32", "batch: -32", "job.yaml:5", "training.global_batch", "-32"),
    job_case(
        "batch that is not a number", "batch: 32", "batch: .nan", "job.yaml:5", "training.global_batch", "nan"
    ),
    job_case(
        "infinite batch", "batch: 32", "batch: .inf", "job.yaml:5", "training.global_batch", "inf", SEARCH
    ),
    job_case("fractional batch", "batch: 32", "batch: 3.5", "job.yaml:5", "training.global_batch", "3.5"),
    job_case("true as a number", "batch: 32", "batch: true", "job.yaml:5", "training.global_batch", "rue"),
    job_case("list as a number", "batch: 32", "batch: [32]", "job.yaml:5", "training.global_batch", "32"),
    job_case("astronomic batch", "batch: 32", f"batch: {10**30}", "job.yaml:5", "training.global_batch", "0"),
    job_case("batch absent", "  global_batch: 32\n", "", "job.yaml:4", "training.global_batch", "required"),
    job_case("zero devices", "devices: 16", "devices: 0", "job.yaml:3", "devices", "1"),
    job_case(
        "10^12 devices", "devices: 16", "devices: 1000000000000", "job.yaml:3", "devices", "1,000,000,000,000"
    ),
    job_case(
        "devices that are no whole nodes", "devices: 16", "devices: 12", "job.yaml:3", "devices", "12", SEARCH
    ),
    job_case("unknown model", "llama3-8b", "lama3-8b", "job.yaml:1", "model", "did you mean 'llama3-8b'?"),
    job_case(
        "unknown cluster",
        "h100-superpod",
        "h100-superpot",
        "job.yaml:2",
        "cluster",
        "did you mean 'h100-superpod'?",
    ),
    job_case(
        "missing cluster file", "h100-superpod", "./none.yaml", "job.yaml:2", "cluster", "does not exist"
    ),
    job_case(
        "missing model file",
        "llama3-8b",
        "./none.json",
        "job.yaml:1",
        "model",
        "'none.json' does not exist",
        SEARCH,
    ),
    job_case(
        "null character in a path", "llama3-8b", '"a\\0b.yaml"', "job.yaml:1", "model", "does not exist"
    ),
    job_case("endless name of a model", "llama3-8b", "x" * 5000, "job.yaml:1", "model", "unknown model"),
    job_case(
        "endless name of a cluster",
        "h100-superpod",
        "x" * 5000 + ".yaml",
        "job.yaml:2",
        "cluster",
        "does not exist",
    ),
    job_case(
        "missing lengths file",
        "  seq_len: 4096",
        "  lengths: none.csv",
        "job.yaml:6",
        "training.lengths",
        "none.csv",
    ),
    job_case(
        "seq_len and lengths",
        "  optimizer: adamw",
        "  lengths: {distribution: constant, length: 2K}",
        "job.yaml:8",
        "training.lengths",
        "one of them",
    ),
    job_case(
        "cluster without nodes", "h100-superpod", "{accelerator: h100-sxm-80gb}", "job.yaml:2", "cluster", ""
    ),
    job_case(
        "inline model with a misspelt key",
        "llama3-8b",
        "{preset: llama3-8b, layer: 4}",
        "job.yaml:1",
        "model.layer",
        "did you mean 'layers'?",
    ),
    job_case("model of a wrong type", "llama3-8b", "8", "job.yaml:1", "model", ""),
    job_case(
        "unknown framework", "megatron-core", "megatron", "job.yaml:9", "training.framework", "did you mean"
    ),
    job_case("unknown precision", "bf16", "bf15", "job.yaml:7", "training.precision", "bf16"),
    job_case("precision that the device lacks", "bf16", "nvfp4", "job.yaml:7", "training.precision", "lacks"),
    job_case("unknown optimizer", "adamw", "adam", "job.yaml:8", "training.optimizer", "adamw", SEARCH),
    job_case(
        "more tokens than learned positions",
        "llama3-8b",
        "gpt3-13b",
        "job.yaml:6",
        "training.seq_len",
        "2048",
    ),
    job_case(
        "unknown knob to fix",
        "{tp: 8}",
        "{tpp: 8}",
        "job.yaml:11",
        "search.fix",
        "did you mean 'tp'?",
        SEARCH,
    ),
    job_case(
        "faulty knob value to fix", "{tp: 8}", "{tp: eight}", "job.yaml:11", "search.fix", "eight", SEARCH
    ),
    job_case("training is no mapping", "  fix: {tp: 8}", "  [1]", "job.yaml:10", "search", "mapping"),
    job_case(
        "reserve of all memory",
        "  fix: {tp: 8}",
        "  memory_reserve: 100%",
        "job.yaml:11",
        "search.memory_reserve",
        "1",
    ),
    job_case(
        "reserve in the wrong unit",
        "  fix: {tp: 8}",
        "  memory_reserve: 6 GB",
        "job.yaml:11",
        "search.memory_reserve",
        "'GB'",
        SEARCH,
    ),
    job_case(
        "recipe without fp8",
        "  optimizer: adamw",
        "  fp8_recipe: delayed",
        "job.yaml:8",
        "training.fp8_recipe",
        "fp8",
    ),
    job_case(
        "routing options without experts",
        "  optimizer: adamw",
        "  moe: {router_imbalance: 2}",
        "job.yaml:8",
        "training.moe",
        "no experts",
    ),
    job_case(
        "cost without a price",
        "  fix: {tp: 8}",
        "  objective: cost",
        "job.yaml:11",
        "search.objective",
        "price",
        SEARCH,
    ),
    job_case(
        "unknown overlap",
        "  optimizer: adamw",
        "  overlap: {tpp: true}",
        "job.yaml:8",
        "training.overlap",
        "did you mean 'tp'?",
    ),
    job_case("dropout of one", "  optimizer: adamw", "  dropout: 1.0", "job.yaml:8", "training.dropout", "1"),
)
