"""What a source holds, before there is a recipe for it: files by pattern, arrays, a first recipe, and what it costs."""
