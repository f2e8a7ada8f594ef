"""Write the software bill of materials of a release: what is installed with it, from uv.lock, as CycloneDX 1.5.

    python .ci/sbom.py UV FILE

Checks what was written: the project and its version, and each package that uv.lock has for users with its version,
address and SHA-256. Needs the standard library and uv, and no network.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOR_DEVELOPERS = {"dev", "docs"}
"""Extras that are no part of what users run."""


def main() -> None:
    uv, out = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for name in project["optional-dependencies"] if name not in FOR_DEVELOPERS]
    chosen = [word for name in extras for word in ("--extra", name)]
    asked = [uv, "export", "--quiet", "--frozen", *chosen, "--format", "cyclonedx1.5", "--output-file", out]
    subprocess.run(asked, cwd=ROOT, check=True)
    written = json.loads(Path(out).read_text(encoding="utf-8"))
    if (written["bomFormat"], written["specVersion"]) != ("CycloneDX", "1.5"):
        sys.exit(f"{out} is {written['bomFormat']} {written['specVersion']}, expected CycloneDX 1.5")
    own = written["metadata"]["component"]
    if (own["name"], own["version"]) != (project["name"], project["version"]):
        sys.exit(f"{out} tells of {own['name']} {own['version']}, expected {project['name']} {project['version']}")
    found = {part["name"]: part for part in written["components"]}
    lacking = {"numpy", "onnxruntime", "pillow", "torch", "pydicom", "fastapi"} - set(found)
    bare = [name for name, part in found.items() if not (part.get("purl") and _has_hashes(part))]
    if lacking or bare:
        sys.exit(f"{out} lacks {', '.join(sorted(lacking)) or 'nothing'}; without address or SHA-256: {bare}")
    print(f"{out}: {len(found)} packages with dermdistill {own['version']}")


def _has_hashes(part: dict) -> bool:
    files = [one for one in part.get("externalReferences", []) if one["type"] == "distribution"]
    return bool(files) and all(one["hashes"][0]["alg"] == "SHA-256" for one in files)


if __name__ == "__main__":
    main()
