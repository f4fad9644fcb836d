//! The learning rate over a run.

use super::config::OptimiserConfig;
use super::extent::Extent;

impl OptimiserConfig {
    /// The learning rate of a step: `step` counts from 0 over the whole run, which has `steps` of them.
    ///
    /// ```
    /// use recall_engine::{Extent, OptimiserConfig};
    ///
    /// let config = OptimiserConfig {
    ///     learning_rate: 1.0,
    ///     warmup_steps: Extent::Whole(4),
    ///     milestones: vec![Extent::Share(0.5)],
    ///     ..OptimiserConfig::default()
    /// };
    /// assert_eq!(config.learning_rate_at(0, 0, 40), 0.25);
    /// assert_eq!(config.learning_rate_at(1, 10, 40), 1.0);
    /// assert_eq!(config.learning_rate_at(2, 20, 40), 0.3);
    /// ```
    pub fn learning_rate_at(&self, epoch: u64, step: u64, steps: u64) -> f64 {
        let warmup = match self.warmup_steps {
            Extent::Whole(count) => count,
            Extent::Share(share) => Extent::share_of(share, steps),
        };
        let warm = ((step + 1) as f64 / warmup.max(1) as f64).min(1.0);
        let reached = |milestone: &&Extent| match **milestone {
            Extent::Whole(first) => first <= epoch,
            Extent::Share(share) => Extent::share_of(share, steps) <= step,
        };
        let passed = self.milestones.iter().filter(reached).count();
        self.learning_rate * warm * self.factor.powi(passed as i32)
    }

    /// What there is to say of milestones that a run of `epochs` epochs never comes to.
    pub fn never_reached(&self, epochs: u64) -> Option<String> {
        let late = |milestone: &&Extent| matches!(**milestone, Extent::Whole(at) if at >= epochs);
        let late: Vec<String> = (self.milestones.iter().filter(late))
            .map(Extent::to_string)
            .collect();
        let are = match &late[..] {
            [] => return None,
            [_] => "is",
            _ => "are",
        };
        let late = late.join(" and ");
        let epochs = match epochs {
            1 => "1 epoch".to_owned(),
            epochs => format!("{epochs} epochs"),
        };
        Some(format!(
            "optimiser.milestones: {late} {are} never reached in {epochs}, so the learning rate does not \
             fall there; numbers below 1 are shares of the run, as in optimiser.milestones=[0.7,0.9]"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(milestones: &[u64]) -> Vec<Extent> {
        milestones.iter().copied().map(Extent::Whole).collect()
    }

    /// 40 epochs of 11 steps: as when the default had its numbers as steps and epochs.
    #[test]
    fn shares_of_the_default_run_are_its_former_steps_and_epochs() {
        let default = OptimiserConfig::default();
        let former = OptimiserConfig {
            warmup_steps: Extent::Whole(10),
            milestones: whole(&[28, 36]),
            ..default.clone()
        };
        for step in 0..440 {
            let rate = |config: &OptimiserConfig| config.learning_rate_at(step / 11, step, 440);
            assert_eq!(rate(&default).to_bits(), rate(&former).to_bits(), "{step}");
        }
    }

    /// A warm-up that was a share of the run had no step in a short one, and short runs collapsed.
    #[test]
    fn the_rate_of_a_run_of_any_length_rises_and_falls() {
        let config = OptimiserConfig::default();
        let rising = 10;
        for (epochs, each) in [(20, 11), (3, 4), (2, 11), (1, 10), (1, 1000), (400, 2)] {
            let steps = epochs * each;
            let rates: Vec<f64> = (0..steps)
                .map(|step| config.learning_rate_at(step / each, step, steps))
                .collect();
            let milestone = steps * 7 / 10;
            for (step, &rate) in rates.iter().enumerate().take(milestone as usize) {
                let share = (step + 1).min(rising) as f64 / rising as f64;
                assert_eq!(rate, config.learning_rate * share, "{step} of {rates:?}");
            }
            let last = config.learning_rate * config.factor.powi(2);
            assert_eq!(rates.last(), Some(&last), "{epochs} epochs of {each} steps");
            assert!(config.never_reached(epochs).is_none());
        }
    }

    #[test]
    fn a_milestone_that_is_never_reached_is_said() {
        let config = OptimiserConfig {
            milestones: whole(&[12, 28, 36]),
            ..OptimiserConfig::default()
        };
        let warning = |epochs| config.never_reached(epochs);
        assert_eq!(warning(37), None);
        for (epochs, start) in [
            (
                36,
                "optimiser.milestones: 36 is never reached in 36 epochs, ",
            ),
            (
                20,
                "optimiser.milestones: 28 and 36 are never reached in 20 epochs, ",
            ),
            (
                1,
                "optimiser.milestones: 12 and 28 and 36 are never reached in 1 epoch, ",
            ),
        ] {
            let warning = warning(epochs).unwrap();
            assert!(warning.starts_with(start), "{warning}");
        }
    }
}
