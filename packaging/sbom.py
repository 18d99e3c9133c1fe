"""Prints what the executable is made of, as a CycloneDX 1.5 document: every crate that is linked in or runs while building,
with its version, licence and checksum, and what depends on what. The C code in two of them is named beside.

    python3 packaging/sbom.py --target x86_64-unknown-linux-gnu
"""

import argparse
import json
import os
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Crates that carry a C library: its name there, where the crate says its version, and how to find it.
BUNDLED = {
    "libsqlite3-sys": ("sqlite", "sqlite3/sqlite3.h", r'#define SQLITE_VERSION\s+"([^"]+)"'),
    "aws-lc-sys": ("aws-lc", "aws-lc/include/openssl/base.h", r'#define AWSLC_VERSION_NUMBER_STRING\s+"([^"]+)"'),
}


def cargo(*arguments):
    ran = subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return ran.stdout


def checksums():
    """SHA-256 of each crate's archive, from the lock file."""
    found = {}
    for package in (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(\w+) = "([^"]*)"$', package, re.MULTILINE))
        found[fields["name"], fields["version"]] = fields.get("checksum")
    return found


def used(target):
    """Name and version of what is linked in or runs while building, by the features that are really on: cargo's metadata
    counts those that only tests ask for, too."""
    lines = cargo("tree", "--locked", "--edges=normal,build", "--target", target, "--prefix=none", "--no-dedupe")
    return {(name, version.removeprefix("v")) for name, version in (line.split()[:2] for line in lines.splitlines())}


def dependencies(node):
    wanted = {None, "build"}
    return [one["pkg"] for one in node["deps"] if wanted & {kind["kind"] for kind in one["dep_kinds"]}]


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum):
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "description": " ".join((package["description"] or "").split()),
        "licenses": [{"expression": package["license"].replace("/", " OR ")}],
        "purl": purl(package),
    }
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if package["name"] in BUNDLED:
        name, file, pattern = BUNDLED[package["name"]]
        text = (Path(package["manifest_path"]).parent / file).read_text()
        version = re.search(pattern, text)
        if not version:
            sys.exit(f"{file} of {package['name']} names no version")
        made["components"] = [
            {"type": "library", "bom-ref": f"{purl(package)}#{name}", "name": name, "version": version.group(1)}
        ]
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    target = parser.parse_args().target
    metadata = json.loads(cargo("metadata", "--format-version=1", "--locked", "--filter-platform", target))
    known = used(target)
    packages = {one["id"]: one for one in metadata["packages"] if (one["name"], one["version"]) in known}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    sums = checksums()
    all_of_it = sorted(packages, key=lambda one: purl(packages[one]))
    own = component(packages[root], None) | {"type": "application"}
    others = [
        component(packages[one], sums[packages[one]["name"], packages[one]["version"]]) for one in all_of_it if one != root
    ]
    made_at = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), timezone.utc)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same for the same contents.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([own, others]))}",
        "version": 1,
        "metadata": {
            "timestamp": made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": own,
            "properties": [{"name": "rollcall:target", "value": target}],
        },
        "components": others,
        "dependencies": [
            {
                "ref": purl(packages[one]),
                "dependsOn": sorted({purl(packages[each]) for each in dependencies(nodes[one]) if each in packages}),
            }
            for one in all_of_it
        ],
    }
    print(json.dumps(document, indent=1, ensure_ascii=False))


main()
