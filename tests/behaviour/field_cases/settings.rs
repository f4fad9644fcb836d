//! Settings: ranges, guesses, and what follows from them.
