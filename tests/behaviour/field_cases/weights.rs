//! Files of weights: equal to what PyTorch loads, or refused by name.
