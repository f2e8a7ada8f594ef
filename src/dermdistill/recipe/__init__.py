"""The recipe, its work folder and the stages that carry it out."""
