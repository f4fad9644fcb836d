//! Queries that search a part of the classes.

use recall_eval::{EvalError, PositiveRanks};

use super::{Ignored, LabelledSet, Side};

impl LabelledSet {
    /// The ranks of each query's positives where a query searches only the classes of its own group:
    /// of the classes (`label`) with its `group_of`, one of `groups`. All of a query's positives are of
    /// its class, so it has the same ones as among all classes, and fewer others before them.
    ///
    /// # Errors
    ///
    /// Those of [`retrieval`](Self::retrieval).
    pub fn ranks_within(
        &self,
        groups: usize,
        group_of: impl Fn(i64) -> usize,
    ) -> Result<PositiveRanks, EvalError> {
        let queries = self.queries.ids.len();
        let (mut ranks, mut candidates) = (vec![Vec::new(); queries], vec![0; queries]);
        for group in 0..groups {
            let rows = |side: &Side| -> Vec<usize> {
                let labels = side.labels.iter().enumerate();
                labels
                    .filter(|&(_, &label)| group_of(label) == group)
                    .map(|(row, _)| row)
                    .collect()
            };
            let of_queries = rows(&self.queries);
            let of_gallery = self.gallery.as_ref().map(rows);
            // Whoever has nobody to search has nothing to find either.
            if of_queries.is_empty() || of_gallery.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let part = self.part(&of_queries, of_gallery.as_deref())?;
            let found = part.retrieval()?.ranks()?;
            for (at, &query) in of_queries.iter().enumerate() {
                ranks[query] = found.of(at).to_vec();
                candidates[query] = found.candidates(at);
            }
        }
        PositiveRanks::from_lists(&ranks, candidates)
    }

    /// The same problem of these rows alone.
    fn part(&self, queries: &[usize], gallery: Option<&[usize]>) -> Result<Self, EvalError> {
        let of_gallery = gallery.unwrap_or(queries);
        let sides = self.gallery.as_ref().zip(gallery);
        let groups = |of: &[i64], rows: &[usize]| rows.iter().map(|&row| of[row]).collect();
        Ok(Self {
            queries: self.queries.part(queries)?,
            gallery: sides.map(|(side, rows)| side.part(rows)).transpose()?,
            ignored: self.ignored.as_ref().map(|ignored| Ignored {
                of_queries: groups(&ignored.of_queries, queries),
                of_gallery: groups(&ignored.of_gallery, of_gallery),
                which: ignored.which,
            }),
        })
    }
}

impl Side {
    fn part(&self, rows: &[usize]) -> Result<Self, EvalError> {
        Ok(Self {
            embeddings: self.embeddings.select(rows)?,
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            ids: rows.iter().map(|&row| self.ids[row]).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use recall_eval::{Embeddings, IgnoreGroup};

    use super::*;

    /// Rows on a circle, at these degrees.
    fn of(angles: &[f32], labels: &[i64]) -> (Embeddings, Vec<i64>) {
        let values = angles.iter().map(|at| at.to_radians());
        let values: Vec<f32> = values.flat_map(|at| [at.cos(), at.sin()]).collect();
        (Embeddings::new(values, 2).unwrap(), labels.to_vec())
    }

    fn lists(ranks: &PositiveRanks) -> Vec<Vec<u32>> {
        ranks.iter().map(<[u32]>::to_vec).collect()
    }

    #[test]
    fn others_of_other_groups_do_not_stand_before_the_positives() {
        // Classes 1 and 2 lie among each other, and class 3 between the two items of class 1.
        let labels = [1, 3, 1, 2, 2, 3];
        let set = LabelledSet::from_parts(of(&[0.0, 5.0, 20.0, 12.0, 90.0, 180.0], &labels), None);
        let all = set.retrieval().unwrap().ranks().unwrap();
        assert_eq!(all.of(0), [3]);
        let group = |label: i64| usize::from(label == 3);
        let within = set.ranks_within(2, group).unwrap();
        assert_eq!(within.of(0), [2]);
        assert_eq!(within.of(1), [1]);
        assert_eq!((within.candidates(0), within.candidates(1)), (3, 1));
        // One group is everything.
        let one = set.ranks_within(1, |_| 0).unwrap();
        assert_eq!(lists(&one), lists(&all));
    }

    #[test]
    fn a_gallery_and_groups_that_are_left_out_are_divided_too() {
        let queries = of(&[0.0, 90.0], &[1, 2]);
        let items = of(&[1.0, 4.0, 2.0, 91.0, 95.0], &[2, 1, 1, 2, 3]);
        let set = LabelledSet::from_parts(queries, Some(items));
        let set = set.ignoring(vec![7, 8], vec![8, 8, 7, 7, 8], IgnoreGroup::SameClass);
        let all = set.retrieval().unwrap().ranks().unwrap();
        assert_eq!(lists(&all), [vec![2], vec![1]]);
        // Class 3 has no queries, and class 2 is apart from class 1.
        let within = set.ranks_within(3, |label| label as usize - 1).unwrap();
        assert_eq!(lists(&within), [vec![1], vec![1]]);
        assert_eq!(within.candidates(0), 1);
    }
}
