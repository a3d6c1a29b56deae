"""The main job on the bundled sample study: runs the container's program, shows what came out, and checks it.

The sample is a simulated whole body (`autosegnet-train simulate`); `test/expected/truth.mha` is its truth. With it lie
`trained.mha`, what the bundled folds are expected to find, and `trained.digest`, which tells these folds from others.
"""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import SimpleITK as sitk

from autosegnet import __version__
from autosegnet.evaluation import measure_pair
from autosegnet.geometry import Grid
from autosegnet.io import find_only_image, read_image, read_mask, write_all
from autosegnet.lesions import measure_lesions
from autosegnet.model.weights import BUNDLED, Weights, digest, open_weights
from autosegnet.report import Provenance, report_files
from autosegnet.study import Study

HERE = Path(__file__).resolve().parent
INPUT, OUTPUT, EXPECTED = HERE / "input", HERE / "output", HERE / "expected"
SOCKET = OUTPUT / "images" / "automated-petct-lesion-segmentation"


def main() -> None:
    """Run, show and check; exit with 1 if something is not as expected."""
    weights = open_weights(BUNDLED)
    if OUTPUT.exists():
        shutil.rmtree(OUTPUT)
    program = [sys.executable, HERE.parent / "process.py"]
    subprocess.run(
        [*program, "--input", INPUT, "--output", OUTPUT, "--weights", weights.folder], cwd=HERE.parent, check=True
    )
    study = Study(
        read_image(find_only_image(INPUT / "images" / "pet")), read_image(find_only_image(INPUT / "images" / "ct"))
    )
    mask = read_mask(find_only_image(SOCKET))
    show(study, mask, weights)
    wrong = differences(study, mask)
    if digest(weights) == (EXPECTED / "trained.digest").read_text().strip():
        overlap = measure_pair(mask, read_mask(EXPECTED / "trained.mha")).dsc
        note = f"Dice with the expected mask is {overlap:.4f}"
        wrong += [f"{note}, below 0.99"] if overlap < 0.99 else []
    else:
        note = "these are not the bundled folds, so that there is no mask to compare with"
    say("\n".join(["FAILED", *wrong]) if wrong else f"OK: as expected ({note})")
    sys.exit(1 if wrong else 0)


def show(study: Study, mask: sitk.Image, weights: Weights) -> None:
    """Show figures on the terminal, and write pictures and tables as files."""
    table = measure_lesions(mask, study.pet)
    body = table.body
    provenance = Provenance(
        software=f"autosegnet {__version__}",
        engine="as logged by process.py",
        weights=digest(weights),
        description=weights.recipe.description,
        suv=("The PET of the sample is in SUV (body weight, g/ml); nothing was converted.",),
        warnings=("This study is simulated: no patient.",),
        made=datetime.now().astimezone(),
    )
    pages = report_files(study, mask, table, provenance)
    write_all({OUTPUT / "report" / name: content for name, content in pages.items()})
    truth = measure_pair(mask, read_mask(EXPECTED / "truth.mha"))
    say(f"lesions {body.lesions}, TMTV {body.tmtv_ml:.1f} ml, TLG {body.tlg_g:.1f} g")
    say(f"against the simulation's truth: DSC {truth.dsc:.3f}, FPV {truth.fpv_ml:.1f} ml, FNV {truth.fnv_ml:.1f} ml")
    say(f"mask      {find_only_image(SOCKET)}")
    for name in sorted(pages):
        if name.endswith((".html", ".png")) and "lesion" not in name:
            say(f"pictures  {OUTPUT / 'report' / name}")


def differences(study: Study, mask: sitk.Image) -> list[str]:
    """Return what is wrong with the output, a line each."""
    files = sorted(str(p.relative_to(OUTPUT)) for p in OUTPUT.rglob("*") if p.is_file() and "report" not in p.parts)
    name = find_only_image(INPUT / "images" / "ct").name
    wanted = [str((SOCKET / name).relative_to(OUTPUT)), "results.json"]
    results = json.loads((OUTPUT / "results.json").read_text())
    checks = {
        f"files are {files}, expected {wanted}": files == wanted,
        "the mask is not on the PET's grid": Grid.from_image(mask) == Grid.from_image(study.pet),
        f"results.json says {results}": [r["outputs"][0]["filename"] for r in results] == [name],
    }
    return [message for message, holds in checks.items() if not holds]


def say(text: str) -> None:
    """Print a line on the terminal, in order with those of the program."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
