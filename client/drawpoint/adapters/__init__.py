"""Other libraries' ways of reading, on top of ours; each module needs the library that it is named after."""
