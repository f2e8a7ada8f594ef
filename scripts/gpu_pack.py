"""Pack the images of a recipe's work folder for a machine with a GPU.

    dermdistill run RECIPE --out WORK --only split      # makes the manifest and the splits, trains nothing
    python scripts/gpu_pack.py WORK PACK --weights tf_efficientnet_lite0 tf_efficientnet_lite1 tf_efficientnet_lite2

PACK then holds part-000.zip, part-001.zip, …, which `scripts/gpu_release.py` unpacks. The licences of the images stay
as they are: a pack is for a machine of your own, never for publication.
"""

import argparse
import json
import sys
from pathlib import Path

from dermdistill.errors import DermdistillError
from dermdistill.networks.packages import PACKAGES
from dermdistill.recipe.pack import MIB, Coding, write_pack


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="work folder with manifest.parquet and splits.json")
    parser.add_argument("out", type=Path, help="gets the parts")
    parser.add_argument("--size", type=int, default=256, help="longest width and height in pixels (256)")
    parser.add_argument("--format", choices=["WEBP", "JPEG"], default="WEBP")
    parser.add_argument("--quality", type=int, default=85, help="of the coding, 1 to 100 (85)")
    parser.add_argument("--part-mib", type=float, default=60, help="largest size of a part (60)")
    parser.add_argument(
        "--weights", nargs="*", choices=list(PACKAGES), default=[], help="ImageNet weights to take along"
    )
    asked = parser.parse_args(arguments)
    coding = Coding(asked.size, asked.format, asked.quality)
    try:
        facts = write_pack(asked.work, asked.out, coding=coding, weights=asked.weights, part_mib=asked.part_mib)
    except DermdistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(facts, indent=2))
    for path in sorted(asked.out.glob("part-*.zip")):
        print(f"{path}  {path.stat().st_size / MIB:.1f} MiB")
    print(f"{facts['image_bytes'] / facts['images']:.0f} bytes an image")
    return 0


if __name__ == "__main__":
    sys.exit(main())
