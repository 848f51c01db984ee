"""Images without a registry and without an engine: archives as `docker save` writes them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def archive(output: Path, name: str, files: Mapping[str, Path], entrypoint: Sequence[str]) -> None:
    """Write an image of one layer with these executables (path in the image: file); `name` is repository and tag."""
    layer = _tar({path: file.read_bytes() for path, file in files.items()})
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    contents = {"layer.tar": layer, "config.json": _json(config), "manifest.json": _json(manifest)}
    output.write_bytes(_tar(contents))


def name_of(image: Path) -> str:
    """Read the name, repository with tag, of the first image in an archive."""
    with tarfile.open(image) as tar:
        manifest = tar.extractfile("manifest.json")
        if manifest is None:
            raise LookupError(f"{image} is no archive of an image")
        name: str = json.load(manifest)[0]["RepoTags"][0]
        return name


def _tar(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
