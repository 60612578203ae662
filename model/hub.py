"""Weights on the Hugging Face Hub, or in a folder of its layout: what `from_pretrained` and `save_pretrained` do."""
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import atomic_path
from common.optional import optional
from model.checkpoint import save_model
from model.network import Network

WEIGHTS_FILE = "model.safetensors"  # the Hub's own name for it
_CARD = """---
library_name: safa
license: mit
tags: [video-super-resolution, frame-interpolation, model_hub_mixin]
---
Weights of the network `{name}` for space-time video super-resolution, settings {settings}.

```python
predictor = Predictor.from_pretrained("{repository}")
frames = predictor.interpolate(frame0, frame1, [0.0, 0.5, 1.0], upscale=4)
```
"""


def find_pretrained(name: str | Path, **download: Any) -> Path:
    """The weights of a local folder or file, or else of a repository of the Hub, fetched unless they are stored.

    Args:
        name: a path, or "owner/repository".
        download: revision, token, cache_dir, force_download, local_files_only, as `huggingface_hub.hf_hub_download`
            takes them.

    Raises:
        UserError: it is neither, the package huggingface_hub is missing, or the download fails.
    """
    if Path(name).exists():
        return Path(name)
    hub = optional("huggingface_hub", "huggingface_hub")
    try:
        return Path(hub.hf_hub_download(str(name), WEIGHTS_FILE, **download))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()
        raise UserError(f"{name} is no folder here, and {WEIGHTS_FILE} cannot be had from the Hugging Face Hub: "
                        f"{reason[0] if reason else type(error).__name__}") from error


def save_pretrained(network: Network, folder: str | Path, repo_id: str | None = None, push_to_hub: bool = False,
                    **upload: Any) -> None:
    """Write a network's weights and a card into a folder that `find_pretrained` and the scripts' --model take.

    Args:
        repo_id: "owner/repository" on the Hub; None: the folder's name.
        push_to_hub: upload the folder there, too; `upload`: private, token, commit_message.

    Raises:
        UserError: the folder cannot be written to, or the package huggingface_hub is missing.
    """
    folder = Path(folder)
    hub = optional("huggingface_hub", "huggingface_hub") if push_to_hub else None
    repository = repo_id or folder.name
    save_model(network, folder / WEIGHTS_FILE)
    if not (folder / "README.md").exists():
        with atomic_path(folder / "README.md") as temporary:
            temporary.write_text(_CARD.format(name=network.name, settings=network.settings, repository=repository))
    if hub:
        api = hub.HfApi(token=upload.get("token"))
        repository = api.create_repo(repository, private=upload.get("private"), exist_ok=True).repo_id
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=upload.get("commit_message"),
                          allow_patterns=[WEIGHTS_FILE, "README.md"])
