"""Reading by a recipe: which samples there are, which arrays their files have, and what is made of the values."""
