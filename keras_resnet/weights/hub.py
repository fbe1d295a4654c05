"""Weights from the Hugging Face Hub, by `huggingface_hub`: its cache, its settings (`HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`).

What a name stood for when it was first used is recorded with its commit and its SHA-256, and stays so.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keras_resnet.atomic import as_json, replace_text
from keras_resnet.errors import InputError, not_installed
from keras_resnet.json_files import read_json
from keras_resnet.outside import printable
from keras_resnet.weights.download import CACHE, LARGEST, announce, cache, digest

FILES = ("model.safetensors", "pytorch_model.bin", "model.weights.h5")
SETTINGS = ("config.json", "spec.json", "labels.txt")  # read where they stand beside the weights


def from_hub(name: str) -> tuple[Path, dict[str, str]]:
    """The file of weights of "owner/name" or "owner/name@revision", with its settings beside it, and what is known of it.

    InputError, in one line, for a repository or revision that is not there, without a connection, and for a changed file.
    """
    repository, _, revision = name.partition("@")
    record = cache() / "hub" / f"{quote(name, safe='')}.json"
    known: dict[str, str] = dict(read_json(record, dict[str, str])) if record.exists() else {}
    try:
        about = known or look_up(repository, revision or None)
        path = fetched(repository, about)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(f"{name!r} is no file here, and for the Hugging Face Hub {not_installed(error.name)}") from None
    except Exception as error:  # which ones these are depends on the version of huggingface_hub
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"{name!r} cannot be downloaded from the Hugging Face Hub: {printable(reason)[:300]}; without a connection, give the "
            f"path of its {FILES[0]}, with its {SETTINGS[0]} beside it"
        ) from None
    about["sha256"] = about.get("sha256") or digest(path, "sha256")
    if digest(path, "sha256") != about["sha256"]:
        path.resolve().unlink()
        raise InputError(f"{name!r} is damaged or has changed: its SHA-256 is not {about['sha256']}; it was removed, try again")
    if not known:
        replace_text(record, as_json(about) + "\n")
    return path, {"name": name, **about}


def look_up(repository: str, revision: str | None) -> dict[str, str]:
    """Commit, licence, file of weights and its SHA-256, as the hub knows them now."""
    from huggingface_hub import HfApi

    info: Any = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).model_info(repository, revision=revision, files_metadata=True)
    files = {entry.rfilename: entry for entry in info.siblings or ()}
    file = next((file for file in FILES if file in files), None)
    if file is None:
        raise InputError(f"{repository!r} of the Hugging Face Hub has no {', '.join(FILES[:-1])} or {FILES[-1]}")
    if (size := files[file].size or 0) > LARGEST:
        raise InputError(
            f"{repository!r} of the Hugging Face Hub has {size:,} bytes of weights: at most {LARGEST:,} are downloaded"
        )
    licence = getattr(info.card_data, "license", None) or "not stated"
    about = {"revision": str(info.sha), "file": file, "licence": str(licence), "url": f"{repository}@{info.sha}"}
    about["settings"] = " ".join(file for file in SETTINGS if file in files)
    about["sha256"] = getattr(files[file].lfs, "sha256", None) or ""
    announce(about, f"{repository}@{info.sha} from the Hugging Face Hub")
    return about


def fetched(repository: str, about: dict[str, str]) -> Path:
    """The file in the cache, and its settings in the same folder; without a connection if they are there already."""
    from huggingface_hub import hf_hub_download

    where: dict[str, Any] = {"revision": about["revision"], "endpoint": os.environ.get("HF_ENDPOINT")}
    if CACHE in os.environ:
        where["cache_dir"] = cache() / "hub"
    for file in (*about["settings"].split(), about["file"]):
        path = Path(hf_hub_download(repository, file, **where))
    return path
