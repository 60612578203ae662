"""What every part of the project may use: user errors, safe file writing, command-line conventions."""
