"""What is to be destroyed: the key first, then the files; what a crash cut off is finished at the next start.

    store notes the id, in the transaction that ends its life ──▶ key ──▶ files ──▶ the note goes

From the first step on nobody can read it through the service, from the second on nobody at all.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from linker.events import event
from linker.store import Store


def destroy_doomed(store: Store, word: str, folder: Path | None) -> None:
    """Destroy all that the store has noted; it may be repeated, from any thread.

    Args:
        store: where it is noted.
        word: what the ids begin with, such as "job".
        folder: where the files are, one folder an id; None if there are none.
    """
    doomed = store.doomed.all(word)
    if not doomed:
        return
    store.safe.destroy(doomed)
    gone = [one for one in doomed if folder is None or remove(folder / one)]
    store.doomed.done(gone)


def remove(folder: Path) -> bool:
    """Remove a folder; whether it is gone. The next start tries again if it is not."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        event("folder_not_removed", logging.ERROR, folder=folder.name, exception=type(error).__name__)
        return False
    return True
