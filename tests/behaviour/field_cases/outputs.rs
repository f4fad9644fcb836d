//! What is written where: nothing is overwritten, no input ever.
