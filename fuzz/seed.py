#!/usr/bin/env python3
"""Makes fuzz/seeds/ from tests/vectors/: small inputs in the form each target reads."""

import json
import pathlib
import shutil

FUZZ = pathlib.Path(__file__).parent
VECTORS = FUZZ.parent / "tests" / "vectors"
SEEDS = FUZZ / "seeds"
LONGEST = 1000


def cases(file, *lists):
    document = json.loads((VECTORS / file).read_text())
    return [case for name in lists for case in document[name]]


def write(target, inputs):
    (SEEDS / target).mkdir(parents=True)
    small = sorted({text for text in inputs if len(text.encode()) <= LONGEST})
    for number, text in enumerate(small):
        (SEEDS / target / f"{number:02}").write_text(text)


shutil.rmtree(SEEDS, ignore_errors=True)
for version in ("envelope_v1", "envelope_v2"):
    write(version, [case["envelope"] for case in cases(f"{version}.json", "valid", "invalid")])
issuance = cases("token_issuance.json", "valid", "invalid")
write("derivation_path", [case["derivationPath"] for case in issuance])
write(
    "token_issuance",
    [
        "\n".join(case[field] for field in ("derivationPath", "serverXpub", "ecdhXprv", "encryptedToken"))
        for case in issuance
    ],
)
write(
    "request_subject",
    ["\n".join((case["method"], case["url"], case["body"])) for case in cases("hmac.json", "v2v3")],
)
