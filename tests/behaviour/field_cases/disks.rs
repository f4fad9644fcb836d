//! Runs on disks as they are: without links, full, copied, killed in between.
