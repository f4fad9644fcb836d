//! Pages: galleries, reports and comparisons show what they claim.
