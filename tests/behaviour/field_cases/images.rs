//! Image files: cut short, turned, of unusual kinds.
