//! Re-ranking by a walk over the graph of neighbours.

use rayon::prelude::*;

use super::check;
use super::expansion::leave;
use super::reranking::Rescore;
use crate::neighbours::{Best, nearest_of};
use crate::sweep::Rows;
use crate::{EvalError, Retrieval};

/// Items rank by the solution `f` of `(I − α S) f = y`: where a walk that starts at the query's neighbours `y` and follows the
/// edges of a graph of items spends its time.
///
/// Iscen, Tolias, Avrithis, Furon and Chum, "Efficient Diffusion on Region Manifolds: Recovering Small Objects with Compact CNN
/// Representations", 2017. Two items are joined if each is among the `k` nearest of the other, by an edge of weight
/// `W_ij = max(x_i·x_j, 0)^γ`; `S = D^(−1/2) W D^(−1/2)` with the sums `D` of its rows. `y_i = max(x_i·q, 0)^γ` for the `k_q` nearest items of
/// the query, else 0. The system is truncated to the `shortlist` nearest items of the query, with the rows and columns of `S`
/// that belong to them, and solved by conjugate gradients in f64.
///
/// Items that the walk does not reach come after the others, by similarity. Cost: a product of the gallery with itself for the graph;
/// memory: at most `16 k` bytes for each item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diffusion {
    /// `k`, at least 1. Default: 50.
    pub neighbours: usize,
    /// `k_q`, at least 1. Default: 10.
    pub query_neighbours: usize,
    /// `γ`, above 0. Default: 3.
    pub gamma: f64,
    /// `α`, at least 0 and below 1. Default: 0.99.
    pub alpha: f64,
    /// Items of the truncated system; never fewer than `k_q`. Default: 1000.
    pub shortlist: usize,
    /// Steps of conjugate gradients at most, at least 1. Default: 20.
    pub iterations: usize,
    /// Length of the residual, as a share of that of `y`, at which the steps end. Default: 1e-6.
    pub tolerance: f64,
}

impl Default for Diffusion {
    fn default() -> Self {
        Self {
            neighbours: 50,
            query_neighbours: 10,
            gamma: 3.0,
            alpha: 0.99,
            shortlist: 1000,
            iterations: 20,
            tolerance: 1e-6,
        }
    }
}

/// What it takes to score items.
pub(super) struct Graph {
    how: Diffusion,
    /// Where the edges of each item start, and where the last end: `[items + 1]`.
    offsets: Vec<usize>,
    /// The other end of each edge, ascending for one item, and its value in `S`.
    edges: Vec<(u32, f64)>,
    /// Whether query `i` is item `i`.
    one_set: bool,
}

impl Diffusion {
    pub(super) fn prepare(&self, retrieval: &Retrieval<'_>) -> Result<Graph, EvalError> {
        let counts = [
            ("the neighbours of a graph", self.neighbours),
            ("the neighbours of a query", self.query_neighbours),
            ("the steps of a diffusion", self.iterations),
        ];
        for (setting, count) in counts {
            check(setting, count as f64, count > 0, "at least 1")?;
        }
        let fits = self.gamma > 0.0 && self.gamma.is_finite();
        check("gamma of a diffusion", self.gamma, fits, "above 0")?;
        let fits = (0.0..1.0).contains(&self.alpha);
        check(
            "alpha of a diffusion",
            self.alpha,
            fits,
            "at least 0 and below 1",
        )?;
        let fits = self.tolerance >= 0.0 && self.tolerance.is_finite();
        check(
            "the tolerance of a diffusion",
            self.tolerance,
            fits,
            "0 or more",
        )?;
        retrieval.check_unit("diffusion")?;

        let items = retrieval.gallery.rows();
        let all: Vec<usize> = (0..items).collect();
        let gallery = Rows::of(&retrieval.gallery);
        let found = nearest_of(&retrieval.gallery, &all, gallery, self.neighbours, leave);
        // By id, so that whoever is at the other end can be looked up.
        let near: Vec<Vec<(u32, f32)>> = (found.into_par_iter())
            .map(|found| {
                let keys = found.ranking.iter();
                let mut near: Vec<_> = keys.map(|key| (key.id(), key.similarity())).collect();
                near.sort_unstable_by_key(|&(id, _)| id);
                near
            })
            .collect();
        let edges: Vec<Vec<(u32, f64)>> = (all.par_iter())
            .map(|&item| {
                let mutual = near[item].iter().filter(|&&(other, _)| {
                    let its = &near[other as usize];
                    its.binary_search_by_key(&(item as u32), |&(id, _)| id)
                        .is_ok()
                });
                let weights = mutual.map(|&(other, similarity)| (other, self.weight(similarity)));
                weights.filter(|&(_, weight)| weight > 0.0).collect()
            })
            .collect();
        let degrees: Vec<f64> = (edges.iter())
            .map(|edges| edges.iter().map(|&(_, weight)| weight).sum())
            .collect();
        let mut offsets = vec![0];
        let mut normalised = Vec::new();
        for (item, edges) in edges.into_iter().enumerate() {
            normalised.extend(edges.into_iter().map(|(other, weight)| {
                let degrees = degrees[item] * degrees[other as usize];
                (other, weight / degrees.sqrt())
            }));
            offsets.push(normalised.len());
        }
        Ok(Graph {
            how: *self,
            offsets,
            edges: normalised,
            one_set: retrieval.task.own_id(0).is_some(),
        })
    }

    fn weight(&self, similarity: f32) -> f64 {
        f64::from(similarity.max(0.0)).powf(self.gamma)
    }
}

impl Graph {
    /// The solution on the shortlist of a query: items, ascending, and `f`.
    pub(super) fn solve(&self, q: usize, similarities: &[f32]) -> (Vec<u32>, Vec<f64>) {
        let how = &self.how;
        let mut best = Best::new(how.shortlist.max(how.query_neighbours));
        match self.one_set {
            true => {
                best.offer_all(&similarities[..q], 0);
                best.offer_all(&similarities[q + 1..], q + 1);
            }
            false => best.offer_all(similarities, 0),
        }
        let ranking = best.into_ranking();
        let mut items: Vec<u32> = ranking.iter().map(|key| key.id()).collect();
        items.sort_unstable();
        let place = |id: u32| items.binary_search(&id);
        let mut start = vec![0.0; items.len()];
        for key in ranking.iter().take(how.query_neighbours) {
            if let Ok(at) = place(key.id()) {
                start[at] = how.weight(key.similarity());
            }
        }
        let mut system = System::default();
        for &item in &items {
            let edges = &self.edges[self.offsets[item as usize]..self.offsets[item as usize + 1]];
            for &(other, value) in edges {
                if let Ok(at) = place(other) {
                    system.entries.push((at, how.alpha * value));
                }
            }
            system.ends.push(system.entries.len());
        }
        let solution = system.solve(&start, how.iterations, how.tolerance);
        (items, solution)
    }
}

impl Rescore for Graph {
    type Scratch = ();

    fn rescore(&self, q: usize, similarities: &mut [f32], (): &mut ()) {
        let (items, solution) = self.solve(q, similarities);
        let mut reached: Vec<(f64, u32)> = (solution.into_iter().zip(items))
            .filter(|&(value, _)| value > 0.0)
            .collect();
        reached.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Their places among each other, above all similarities of unit rows: f64 does not fit in f32, but the order does.
        for (place, same) in reached.chunk_by(|a, b| a.0 == b.0).enumerate() {
            for &(_, item) in same {
                similarities[item as usize] = 2.0 + place as f32;
            }
        }
    }
}

/// `I − A` for a sparse `A`.
#[derive(Default)]
struct System {
    /// Where the entries of each row end.
    ends: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl System {
    /// Conjugate gradients from 0.
    fn solve(&self, right: &[f64], iterations: usize, tolerance: f64) -> Vec<f64> {
        let mut solution = vec![0.0; right.len()];
        let mut residual = right.to_vec();
        let mut direction = right.to_vec();
        let mut image = vec![0.0; right.len()];
        let mut squared = dot(&residual, &residual);
        let enough = tolerance.powi(2) * squared;
        for _ in 0..iterations {
            if squared <= enough || squared == 0.0 {
                break;
            }
            self.times(&direction, &mut image);
            let step = squared / dot(&direction, &image);
            add(&mut solution, step, &direction);
            add(&mut residual, -step, &image);
            let next = dot(&residual, &residual);
            let turn = next / squared;
            for (direction, residual) in direction.iter_mut().zip(&residual) {
                *direction = residual + turn * *direction;
            }
            squared = next;
        }
        solution
    }

    fn times(&self, vector: &[f64], image: &mut [f64]) {
        let mut start = 0;
        for ((image, &own), &end) in image.iter_mut().zip(vector).zip(&self.ends) {
            let row = &self.entries[start..end];
            let others: f64 = row.iter().map(|&(at, value)| value * vector[at]).sum();
            *image = own - others;
            start = end;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, vector: &[f64]) {
    for (to, value) in to.iter_mut().zip(vector) {
        *to += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, DVector};

    use super::super::made::{assert_close, clustered, on_any_threads, product, ranking};
    use super::*;
    use crate::Embeddings;
    use crate::refine::Reranking;

    /// The whole system by elimination, its rows and columns of a shortlist, and 0 elsewhere.
    fn plain(query: &[f32], items: &Embeddings, own: Option<usize>, how: &Diffusion) -> Vec<f64> {
        let n = items.rows();
        let near: Vec<Vec<usize>> = (0..n)
            .map(|i| {
                ranking(items.row(i), items, Some(i))
                    .into_iter()
                    .take(how.neighbours)
                    .collect()
            })
            .collect();
        let w = DMatrix::from_fn(n, n, |i, j| {
            match near[i].contains(&j) && near[j].contains(&i) {
                true => product(items.row(i), items.row(j)).max(0.0).powf(how.gamma),
                false => 0.0,
            }
        });
        let degrees: Vec<f64> = (0..n).map(|i| w.row(i).sum()).collect();
        let s = DMatrix::from_fn(n, n, |i, j| match w[(i, j)] > 0.0 {
            true => w[(i, j)] / (degrees[i] * degrees[j]).sqrt(),
            false => 0.0,
        });
        let ranking = ranking(query, items, own);
        let kept: Vec<usize> = ranking
            .iter()
            .copied()
            .take(how.shortlist.max(how.query_neighbours))
            .collect();
        let y = DVector::from_fn(kept.len(), |at, _| match at < how.query_neighbours {
            true => product(query, items.row(kept[at])).max(0.0).powf(how.gamma),
            false => 0.0,
        });
        let system = DMatrix::from_fn(kept.len(), kept.len(), |i, j| {
            f64::from(u8::from(i == j)) - how.alpha * s[(kept[i], kept[j])]
        });
        let f = system.lu().solve(&y).unwrap();
        let mut solution = vec![0.0; n];
        for (at, &item) in kept.iter().enumerate() {
            solution[item] = f[at];
        }
        solution
    }

    fn similarities(retrieval: &Retrieval<'_>) -> Vec<Vec<f32>> {
        struct Same;
        impl Rescore for Same {
            type Scratch = ();
            fn rescore(&self, _: usize, _: &mut [f32], (): &mut ()) {}
        }
        retrieval.rescored(&Same, |_, scores| scores.to_vec())
    }

    #[test]
    fn as_elimination_says() {
        let (queries, query_labels) = clustered(13, 17, 5);
        let (gallery, labels) = clustered(14, 110, 5);
        let exact = Diffusion {
            iterations: 2000,
            tolerance: 1e-13,
            ..Default::default()
        };
        for how in [
            exact,
            Diffusion {
                neighbours: 7,
                query_neighbours: 3,
                ..exact
            },
            Diffusion {
                neighbours: 12,
                shortlist: 40,
                alpha: 0.9,
                gamma: 1.0,
                ..exact
            },
            Diffusion {
                neighbours: 1,
                query_neighbours: 1,
                shortlist: 1,
                ..exact
            },
            Diffusion {
                neighbours: 500,
                query_neighbours: 500,
                ..exact
            },
        ] {
            let retrieval =
                Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &labels)
                    .unwrap();
            let rest = Retrieval::each_against_rest(&gallery, &labels).unwrap();
            for (retrieval, one_set) in [(&retrieval, false), (&rest, true)] {
                let similarities = similarities(retrieval);
                let solved = on_any_threads(|| {
                    let graph = how.prepare(retrieval).unwrap();
                    let solve = |(q, row): (usize, &Vec<f32>)| graph.solve(q, row);
                    similarities
                        .iter()
                        .enumerate()
                        .map(solve)
                        .collect::<Vec<_>>()
                });
                for (q, (items, solution)) in solved.into_iter().enumerate() {
                    let mut found = vec![0.0; gallery.rows()];
                    for (item, value) in items.into_iter().zip(solution) {
                        found[item as usize] = value;
                    }
                    let own = one_set.then_some(q);
                    let wanted = plain(retrieval.queries.row(q), &gallery, own, &how);
                    let largest = wanted.iter().copied().fold(1.0, f64::max);
                    let shares = |values: &[f64]| -> Vec<f64> {
                        values.iter().map(|value| value / largest).collect()
                    };
                    assert_close(&shares(&found), &shares(&wanted));
                }
            }
        }
    }

    #[test]
    fn reached_items_first_and_the_others_by_similarity() {
        let (queries, query_labels) = clustered(15, 20, 4);
        let (gallery, labels) = clustered(16, 150, 4);
        let how = Diffusion {
            neighbours: 5,
            shortlist: 30,
            ..Default::default()
        };
        let retrieval =
            Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &labels).unwrap();
        let graph = how.prepare(&retrieval).unwrap();
        let similarities = similarities(&retrieval);
        let ranks = on_any_threads(|| {
            retrieval
                .ranks_reranked(&Reranking::Diffusion(how))
                .unwrap()
        });
        for (q, row) in similarities.iter().enumerate() {
            let (items, solution) = graph.solve(q, row);
            let value = |id: usize| {
                items
                    .binary_search(&(id as u32))
                    .map_or(0.0, |at| solution[at])
            };
            let mut ids: Vec<usize> = (0..gallery.rows()).collect();
            ids.sort_by(|&a, &b| {
                let by_value = value(b).max(0.0).total_cmp(&value(a).max(0.0));
                let by_similarity = row[b].total_cmp(&row[a]);
                let tied = value(a) > 0.0;
                by_value.then(if tied {
                    a.cmp(&b)
                } else {
                    by_similarity.then(a.cmp(&b))
                })
            });
            let wanted: Vec<u32> = (1..)
                .zip(ids)
                .filter(|&(_, id)| labels[id] == query_labels[q])
                .map(|(rank, _)| rank)
                .collect();
            assert_eq!(ranks.of(q), wanted);
        }
    }

    #[test]
    fn what_is_refused_and_what_is_small() {
        let (rows, labels) = clustered(17, 20, 3);
        let rest = Retrieval::each_against_rest(&rows, &labels).unwrap();
        let usual = Diffusion::default();
        for how in [
            Diffusion {
                neighbours: 0,
                ..usual
            },
            Diffusion {
                query_neighbours: 0,
                ..usual
            },
            Diffusion {
                iterations: 0,
                ..usual
            },
            Diffusion {
                gamma: 0.0,
                ..usual
            },
            Diffusion {
                alpha: 1.0,
                ..usual
            },
            Diffusion {
                alpha: f64::NAN,
                ..usual
            },
            Diffusion {
                tolerance: -1.0,
                ..usual
            },
        ] {
            let error = rest.ranks_reranked(&Reranking::Diffusion(how)).unwrap_err();
            assert!(matches!(error, EvalError::InvalidSetting { .. }), "{error}");
        }
        // One item, which is alone; and items at right angles, which nothing joins.
        for rows in [vec![1.0, 0.0], vec![1.0, 0.0, 0.0, 1.0]] {
            let rows = Embeddings::new(rows, 2).unwrap();
            let labels = vec![0; rows.rows()];
            let rest = Retrieval::each_against_rest(&rows, &labels).unwrap();
            let ranks = rest.ranks_reranked(&Reranking::Diffusion(usual)).unwrap();
            assert_eq!(ranks, rest.ranks().unwrap());
        }
    }
}
