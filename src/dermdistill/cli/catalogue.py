"""The commands in groups, as the help shows them, with examples of each; tests parse every example."""

PANELS: dict[str, dict[str, tuple[str, ...]]] = {
    "Use a model": {
        "predict": (
            "dermdistill predict spot.jpg",
            "dermdistill predict photos/ --out results.csv",
            "dermdistill predict photos/ --format json --threshold youden",
            "dermdistill predict spot.jpg --model lite0-cut-64",
            "dermdistill predict study/ --dicom-sr reports/",
            "dermdistill predict s3://bucket/photos/ --shards 40 --out s3://bucket/answers",
        ),
        "models": ("dermdistill models", "dermdistill models --json"),
        "verify": ("dermdistill verify lite0-cut-64", "dermdistill verify work/demo/bundles/student"),
        "bench": ("dermdistill bench --quick", "dermdistill bench lite0-cut-64 --out speed/"),
        "page": ("dermdistill page --to public/", "dermdistill page --to public/ --model lite0-cut-64"),
        "serve": (
            "dermdistill serve --open",
            "dermdistill serve --host 0.0.0.0 --keys keys.txt --port 8080",
        ),
        "serve-key": ("dermdistill serve-key clinic --keys keys.txt",),
    },
    "Prepare": {
        "data": ("dermdistill data import HAM10000/ --out manifest.parquet", "dermdistill data split manifest.parquet"),
        "data fetch": ("dermdistill data fetch --list", "dermdistill data fetch ham10000 --out data/ham10000"),
        "data synth": ("dermdistill data synth made/ --images 200 --size 64",),
        "data import": (
            "dermdistill data import data/ham10000 data/isic2017 --out manifest.parquet",
            "dermdistill data import own.csv --label-column diagnosis --melanoma-label mm --out own.parquet",
        ),
        "data show": ("dermdistill data show manifest.parquet",),
        "data check": ("dermdistill data check manifest.parquet --out good.parquet",),
        "data duplicates": ("dermdistill data duplicates manifest.parquet --sheet pairs.png",),
        "data split": ("dermdistill data split manifest.parquet --folds 5 --holdout 0.2",),
        "data audit": (
            "dermdistill data audit train.parquet test.parquet",
            "dermdistill data audit manifest.parquet --splits manifest.splits.json",
        ),
        "recipes": ("dermdistill recipes", "dermdistill recipes copy release my.toml"),
        "recipes list": ("dermdistill recipes list --json",),
        "recipes copy": ("dermdistill recipes copy release my.toml",),
        "fetch-artifacts": (
            "dermdistill fetch-artifacts --list",
            "dermdistill fetch-artifacts release-runs --from downloads/",
        ),
    },
    "Train": {
        "demo": ("dermdistill demo", "dermdistill demo --data ~/images --accelerator cpu"),
        "run": (
            "dermdistill run my.toml --data ~/images --dry-run",
            "dermdistill run my.toml --data ~/images",
            "dermdistill run my.toml --redo 'distill student'",
        ),
        "status": ("dermdistill status work/my", "dermdistill status my.toml --out elsewhere --json"),
        "teach": ("dermdistill teach my.toml --data ~/images --name teacher",),
        "soften": ("dermdistill soften my.toml --data ~/images", "dermdistill soften my.toml --part 2/8",
                   "dermdistill soften my.toml --engine ray --parts 8"),
        "distill": ("dermdistill distill my.toml --data ~/images --name student",),
        "sweep": (
            "dermdistill sweep my.toml --set 'train.learning_rate=1e-4..1e-2(log)' --trials 20",
            "dermdistill sweep my.toml --set loss.kind=kd,dkd --storage sqlite:///sweep.db",
        ),
        "students": ("dermdistill students",),
        "gate": ("dermdistill gate fit manifest.parquet --out gate.onnx --report gate.json",),
        "gate fit": ("dermdistill gate fit manifest.parquet --out gate.onnx --report gate.json",),
        "gate add": ("dermdistill gate add work/my/bundles/student gate.onnx --out bundle",),
        "gate count": ("dermdistill gate count photos/ --model bundle",),
        "views": ("dermdistill views my.toml --to views/ --size 224",),
    },
    "Evaluate and publish": {
        "evaluate": (
            "dermdistill evaluate manifest.parquet --model a=work/a/students/a --out report",
            "dermdistill evaluate manifest.parquet --model a=runs/a --bundle a=bundles/a --cases 3 --out report",
            "dermdistill evaluate answers.csv --label-column truth --probability-column p",
            "dermdistill evaluate answers.csv --subgroup camera --prevalence 0.02 --prevalence 0.05",
        ),
        "compare": (
            "dermdistill compare lite0-cut-112 lite0-cut-64 --on manifest.parquet --out compared",
            "dermdistill compare work/my/bundles/student lite0-cut-64 --on manifest.parquet --out compared",
        ),
        "checklist": (
            "dermdistill checklist report/report.json --form tripod-ai --out tripod.docx",
            "dermdistill checklist report/report.json --form clear-derm --out clear-derm.md",
        ),
        "export": ("dermdistill export work/my/students/student --manifest work/my/manifest.parquet --out bundle",),
        "publish": ("dermdistill publish --to hub/", "dermdistill publish --to hub/ --model lite0-cut-64"),
        "reproduce": ("dermdistill reproduce khan2022 --list",),
        "reproduce khan2022": (
            "dermdistill reproduce khan2022",
            "dermdistill reproduce khan2022 --table 2 --budget full --data arrays/",
        ),
    },
    "This installation": {
        "doctor": ("dermdistill doctor", "dermdistill doctor --quick --json"),
        "completion": (
            "dermdistill completion bash > ~/.local/share/bash-completion/completions/dermdistill",
            "dermdistill completion fish > ~/.config/fish/completions/dermdistill.fish",
        ),
    },
}  # fmt: skip
"""The examples of each command by its name, that of a group before it, and by the panel of its first word."""

FIRST = ("dermdistill predict spot.jpg", "dermdistill serve --open", "dermdistill demo", "dermdistill doctor")
"""What to try first."""

MODULES: dict[str, tuple[str, ...]] = {
    "demo": ("demo",),
    "train": ("run", "status", "teach", "soften", "distill", "students"),
    "sweep": ("sweep",),
    "foreign": ("views",),
    "evaluate": ("evaluate",),
    "compare": ("compare",),
    "checklist": ("checklist",),
    "deploy": ("export", "verify"),
    "predict": ("predict",),
    "bench": ("bench",),
    "models": ("models",),
    "publish": ("publish",),
    "page": ("page",),
    "serve": ("serve", "serve-key"),
    "artifacts": ("fetch-artifacts",),
    "doctor": ("doctor",),
    "completion": ("completion",),
    "data": ("data",),
    "gate": ("gate",),
    "reproduce": ("reproduce",),
    "recipes": ("recipes",),
}
"""The commands and groups of each module of `dermdistill.cli`."""

GROUPS = ("data", "gate", "reproduce", "recipes")
"""The modules whose commands follow the module's name."""
