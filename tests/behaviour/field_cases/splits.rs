//! Splits: validation selects, test judges, and a class stays where it is.
