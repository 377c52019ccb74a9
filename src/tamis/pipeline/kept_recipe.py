"""The recipe of a run, kept in its folder for commands that ask a finished run something new."""

from pathlib import Path
from typing import Final

from tamis.artifacts import read_json, write_json, writing
from tamis.errors import RunError
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.recipe import Recipe
from tamis.whole_folder import whole_file

FILE: Final = "recipe.json"


def keep_recipe(recipe: Recipe, root: Path) -> None:
    """Write a recipe into its run folder, in place of the one that was run there before.

    Raises:
        RunError: The disk cannot be written.
    """
    with writing(root), whole_file(root / FILE) as partial:
        write_json(partial, recipe.model_dump(mode="json", exclude_unset=True))


def forget_recipe(root: Path) -> None:
    """Remove a kept recipe: what is run now has functions of the user's own, which no file can hold."""
    with writing(root):
        (root / FILE).unlink(missing_ok=True)


def kept_recipe(root: Path) -> Recipe:
    """The recipe that was run last in a folder.

    Raises:
        RunError: None is kept there.
        SettingsError: It is not understood.
    """
    file = root / FILE
    if not file.is_file():
        raise RunError(
            f"{root}: its recipe is not kept there; run the same command again (what is finished is reused), or, where "
            "functions of your own are parts of it, name the folder of documents and TREC runs with --runs"
        )
    try:
        return recipe_from(read_json(file), str(file))
    except (OSError, ValueError):
        raise RunError(f"{file}: not understood; run the recipe again") from None
