//! Labels of embeddings: the same name, the same number, wherever it is embedded.
