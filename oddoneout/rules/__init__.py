"""The rules of the game: pure, without coordinates or pixels; standard library and numpy."""
