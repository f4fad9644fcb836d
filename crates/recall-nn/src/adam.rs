//! What an update by Adam depends on beside its tensors.

/// One update by Adam: its settings, and which update it is.
///
/// With the gradient `g` of a parameter `w`, `m ← β₁ m + (1 − β₁) g` and `v ← β₂ v + (1 − β₂) g²`, and after
/// the correction of both for their start from zero `w ← w − rate · m / (√v + ε)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// What the update is multiplied by, schedule included.
    pub learning_rate: f64,
    /// How much the moments keep of themselves, `[β₁, β₂]`, such as `[0.9, 0.999]`.
    pub betas: [f32; 2],
    /// `ε`, added to the root of the second moment, such as `1e-8`.
    pub epsilon: f32,
    /// How weights decay.
    pub decay: WeightDecay,
    /// The number of this update of the parameter, from 1.
    pub time: usize,
}

/// How weights decay; 0 for not at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightDecay {
    /// Adam: so many times the parameter is added to its gradient.
    Gradient(f32),
    /// AdamW: so many times the parameter and the learning rate is taken off the parameter.
    Decoupled(f32),
}

impl AdamStep {
    /// `1 − βᵗ`: the share of the moments' weights that gradients have had so far.
    pub(crate) fn corrections(&self) -> [f32; 2] {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        self.betas.map(|beta| 1.0 - beta.powi(time))
    }
}
