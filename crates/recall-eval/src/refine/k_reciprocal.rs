//! Re-ranking by neighbours that are mutual.

use rayon::prelude::*;

use super::check;
use super::expansion::leave;
use super::reranking::Rescore;
use crate::neighbours::{Found, nearest_of};
use crate::sweep::Rows;
use crate::{Embeddings, EvalError, Retrieval};

/// Items rank by `(1 − λ) d_J + λ d`, where `d_J` says how few mutual neighbours an item and the query share and `d` is the
/// squared Euclidean distance, divided by the largest from the query.
///
/// Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", 2017, as the code of its authors has
/// it. All items and queries are nodes. `R(p, k)` are those of the `k` nearest nodes of `p`, and `p` itself, that have `p` among
/// their own. `R*(p)` adds to `R(p, k1)` each `R(c, k1 / 2)` of its members `c` of which more than two thirds lie in
/// `R(p, k1)`. Node `p` is described by `V_p(i) ∝ exp(−d(p, i))` on `R*(p)`, of sum 1, then by the mean of these of itself and its
/// `k2 − 1` nearest nodes, and `d_J(p, g) = 1 − Σ min(V_p, V_g) / Σ max(V_p, V_g)`.
///
/// Neighbours follow one after the other by similarity, equal ones by id (queries before items), and a node is the first of its own.
/// Cost: a product of all nodes with themselves. Memory: about `8 k1 k2` bytes for each node, and no matrix of nodes by
/// nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KReciprocal {
    /// `k1`, at least 1. Default: 20.
    pub k1: usize,
    /// `k2`, at least 1. Default: 6.
    pub k2: usize,
    /// `λ`, between 0 and 1. Default: 0.3.
    pub lambda: f64,
}

impl Default for KReciprocal {
    fn default() -> Self {
        Self {
            k1: 20,
            k2: 6,
            lambda: 0.3,
        }
    }
}

/// A node and its weight in the description of another, or the other way round.
type Weight = (u32, f32);

/// What it takes to score items.
pub(super) struct Encoded {
    lambda: f64,
    /// Of each query, by ascending node.
    queries: Vec<Vec<Weight>>,
    /// The largest squared distance of each query.
    largest: Vec<f64>,
    /// For each node, the items that have it in their description.
    having: Vec<Vec<Weight>>,
}

impl KReciprocal {
    pub(super) fn prepare(&self, retrieval: &Retrieval<'_>) -> Result<Encoded, EvalError> {
        check(
            "k1 of a re-ranking",
            self.k1 as f64,
            self.k1 > 0,
            "at least 1",
        )?;
        check(
            "k2 of a re-ranking",
            self.k2 as f64,
            self.k2 > 0,
            "at least 1",
        )?;
        let fits = (0.0..=1.0).contains(&self.lambda);
        check(
            "lambda of a re-ranking",
            self.lambda,
            fits,
            "between 0 and 1",
        )?;
        retrieval.check_unit("k-reciprocal re-ranking")?;

        let queries = retrieval.queries();
        let one_set = retrieval.task.own_id(0).is_some();
        // The number of an item's node.
        let first = match one_set {
            true => 0,
            false => queries,
        };
        let nodes: &Embeddings = match one_set {
            true => &retrieval.gallery,
            false => {
                let sides = [retrieval.queries.as_slice(), retrieval.gallery.as_slice()];
                &Embeddings::of_finite(sides.concat(), retrieval.gallery.dim())
            }
        };
        let (mut described, largest) = self.describe(nodes);
        let mut having = vec![Vec::new(); nodes.rows()];
        for (item, weights) in described[first..].iter().enumerate() {
            for &(node, weight) in weights {
                having[node as usize].push((item as u32, weight));
            }
        }
        described.truncate(queries);
        Ok(Encoded {
            lambda: self.lambda,
            queries: described,
            largest,
            having,
        })
    }

    /// The descriptions of all nodes, by ascending node, and their largest squared distances.
    fn describe(&self, nodes: &Embeddings) -> (Vec<Vec<Weight>>, Vec<f64>) {
        let all: Vec<usize> = (0..nodes.rows()).collect();
        let k = self.k1.max(self.k2 - 1);
        let found = nearest_of(nodes, &all, Rows::of(nodes), k, leave);
        let largest = found.iter().map(|found| squared(found.farthest.into()));
        let largest: Vec<f64> = largest.collect();
        let neighbours = Neighbours::of(found);
        let half = (self.k1 as f64 / 2.0).round_ties_even() as usize;
        let mutual = |k| -> Vec<Vec<u32>> {
            (all.par_iter())
                .map(|&node| neighbours.mutual(node, k))
                .collect()
        };
        let (mutual, halves) = (mutual(self.k1), mutual(half));
        let own: Vec<Vec<Weight>> = (all.par_iter())
            .map(|&node| {
                let members = expanded(&mutual[node], &halves);
                let weights = members.iter().map(|&other| {
                    let product = dot(nodes.row(node), nodes.row(other as usize));
                    (-share(squared(product), largest[node])).exp()
                });
                let weights: Vec<f64> = weights.collect();
                let sum: f64 = weights.iter().sum();
                let weights = weights.iter().map(|weight| (weight / sum) as f32);
                members.iter().copied().zip(weights).collect()
            })
            .collect();
        let described = (all.par_iter())
            .map(|&node| {
                let around = neighbours.first(node, self.k2 - 1);
                let mut weights: Vec<Weight> =
                    around.flat_map(|other| own[other].clone()).collect();
                let members = weights.len();
                // Stable, so that sums have one order.
                weights.sort_by_key(|&(node, _)| node);
                let count = (self.k2.min(all.len())) as f64;
                let mut means: Vec<Weight> = Vec::with_capacity(members);
                for same in weights.chunk_by(|a, b| a.0 == b.0) {
                    let sum: f64 = same.iter().map(|&(_, weight)| f64::from(weight)).sum();
                    means.push((same[0].0, (sum / count) as f32));
                }
                means.shrink_to_fit();
                means
            })
            .collect();
        (described, largest)
    }
}

impl Rescore for Encoded {
    type Scratch = Vec<f64>;

    fn rescore(&self, q: usize, similarities: &mut [f32], shared: &mut Vec<f64>) {
        shared.clear();
        shared.resize(similarities.len(), 0.0);
        for &(node, weight) in &self.queries[q] {
            for &(item, other) in &self.having[node as usize] {
                shared[item as usize] += f64::from(weight.min(other));
            }
        }
        for (similarity, shared) in similarities.iter_mut().zip(shared) {
            let jaccard = 1.0 - *shared / (2.0 - *shared);
            let distance = share(squared(f64::from(*similarity)), self.largest[q]);
            *similarity = -((1.0 - self.lambda) * jaccard + self.lambda * distance) as f32;
        }
    }
}

/// The nearest nodes of each, without itself.
struct Neighbours(Vec<Vec<u32>>);

impl Neighbours {
    fn of(found: Vec<Found>) -> Self {
        let ids = |found: Found| found.ranking.iter().map(|key| key.id()).collect();
        Self(found.into_iter().map(ids).collect())
    }

    /// The node itself and the `k` nearest to it.
    fn first(&self, node: usize, k: usize) -> impl Iterator<Item = usize> {
        let others = self.0[node].iter().take(k).map(|&other| other as usize);
        std::iter::once(node).chain(others)
    }

    /// `R(node, k)`, ascending.
    fn mutual(&self, node: usize, k: usize) -> Vec<u32> {
        let knows = |&other: &usize| self.first(other, k).any(|its| its == node);
        let mut mutual: Vec<u32> = (self.first(node, k).filter(knows))
            .map(|other| other as u32)
            .collect();
        mutual.sort_unstable();
        mutual
    }
}

/// `R*`, ascending, from `R` and the halves of all nodes.
fn expanded(mutual: &[u32], halves: &[Vec<u32>]) -> Vec<u32> {
    let mut members = mutual.to_vec();
    for &candidate in mutual {
        let half = &halves[candidate as usize];
        let within = |other: &&u32| mutual.binary_search(other).is_ok();
        if 3 * half.iter().filter(within).count() > 2 * half.len() {
            members.extend(half);
        }
    }
    members.sort_unstable();
    members.dedup();
    members
}

/// The squared distance of two unit rows.
fn squared(product: f64) -> f64 {
    (2.0 - 2.0 * product).max(0.0)
}

/// 0 where all distances are 0.
fn share(distance: f64, largest: f64) -> f64 {
    match largest > 0.0 {
        true => distance / largest,
        false => 0.0,
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

#[cfg(test)]
mod tests {
    use super::super::made::{assert_close, clustered, on_any_threads, product, ranking};
    use super::*;
    use crate::PositiveRanks;
    use crate::refine::Reranking;

    /// The distances of the code that the authors published, dense. `first` is the node of the first item.
    fn plain(nodes: &Embeddings, queries: usize, first: usize, how: KReciprocal) -> Vec<Vec<f64>> {
        let n = nodes.rows();
        let KReciprocal { k1, k2, lambda } = how;
        let distance: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let squares: Vec<f64> = (0..n)
                    .map(|j| 2.0 - 2.0 * product(nodes.row(i), nodes.row(j)))
                    .collect();
                let largest = squares.iter().copied().fold(0.0, f64::max);
                squares
                    .iter()
                    .map(|square| square.max(0.0) / largest)
                    .collect()
            })
            .collect();
        let order: Vec<Vec<usize>> = (0..n)
            .map(|i| {
                let mut order = vec![i];
                order.extend(ranking(nodes.row(i), nodes, Some(i)));
                order
            })
            .collect();
        let first_of = |i: usize, k: usize| &order[i][..(k + 1).min(n)];
        let mutual = |i: usize, k: usize| -> Vec<usize> {
            let forward = first_of(i, k).iter().copied();
            forward.filter(|&j| first_of(j, k).contains(&i)).collect()
        };
        let half = [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5][k1.min(10)];
        let half = if k1 > 10 { k1 / 2 } else { half };
        let mut v = vec![vec![0.0; n]; n];
        for i in 0..n {
            let base = mutual(i, k1);
            let mut members = base.clone();
            for &candidate in &base {
                let near = mutual(candidate, half);
                let shared = near.iter().filter(|j| base.contains(j)).count();
                if shared as f64 > 2.0 / 3.0 * near.len() as f64 + 1e-9 {
                    members.extend(near);
                }
            }
            members.sort_unstable();
            members.dedup();
            let sum: f64 = members.iter().map(|&j| (-distance[i][j]).exp()).sum();
            for j in members {
                v[i][j] = (-distance[i][j]).exp() / sum;
            }
        }
        let near = |i: usize| &order[i][..k2.min(n)];
        let v: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let mean = |j: usize| near(i).iter().map(|&o| v[o][j]).sum::<f64>();
                (0..n).map(|j| mean(j) / near(i).len() as f64).collect()
            })
            .collect();
        (0..queries)
            .map(|q| {
                let score = |g: usize| {
                    let least: f64 = v[q].iter().zip(&v[g]).map(|(a, b)| a.min(*b)).sum();
                    let most: f64 = v[q].iter().zip(&v[g]).map(|(a, b)| a.max(*b)).sum();
                    (1.0 - lambda) * (1.0 - least / most) + lambda * distance[q][g]
                };
                (first..n).map(score).collect()
            })
            .collect()
    }

    /// Ranks by sorting, without the query itself.
    pub(in super::super) fn sorted(
        scores: &[Vec<f32>],
        positive: impl Fn(usize, usize) -> bool,
        own: bool,
    ) -> Vec<Vec<u32>> {
        let of_query = |q: usize| {
            let row = &scores[q];
            let mut ids: Vec<usize> = (0..row.len()).filter(|&id| !own || id != q).collect();
            ids.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            let ranks = (1..).zip(ids).filter(|&(_, id)| positive(q, id));
            ranks.map(|(rank, _)| rank).collect()
        };
        (0..scores.len()).map(of_query).collect()
    }

    fn of(ranks: &PositiveRanks) -> Vec<Vec<u32>> {
        ranks.iter().map(<[u32]>::to_vec).collect()
    }

    #[test]
    fn as_the_published_code_says() {
        let (queries, query_labels) = clustered(10, 23, 5);
        let (gallery, labels) = clustered(11, 90, 5);
        let nodes = Embeddings::new([queries.as_slice(), gallery.as_slice()].concat(), 5).unwrap();
        for (k1, k2, lambda) in [
            (20, 6, 0.3),
            (7, 1, 0.0),
            (5, 3, 1.0),
            (1, 1, 0.5),
            (3, 9, 0.3),
            (200, 200, 0.1),
        ] {
            let how = KReciprocal { k1, k2, lambda };
            let retrieval =
                Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &labels)
                    .unwrap();
            let scores = on_any_threads(|| {
                let encoded = how.prepare(&retrieval).unwrap();
                retrieval.rescored(&encoded, |_, scores| scores.to_vec())
            });
            for (scores, wanted) in scores.iter().zip(plain(&nodes, 23, 23, how)) {
                let found: Vec<f64> = scores.iter().map(|&score| -f64::from(score)).collect();
                assert_close(&found, &wanted);
            }
            let ranks = retrieval
                .ranks_reranked(&Reranking::KReciprocal(how))
                .unwrap();
            let positive = |q: usize, id: usize| query_labels[q] == labels[id];
            assert_eq!(of(&ranks), sorted(&scores, positive, false));

            let rest = Retrieval::each_against_rest(&gallery, &labels).unwrap();
            let encoded = how.prepare(&rest).unwrap();
            let scores = rest.rescored(&encoded, |_, scores| scores.to_vec());
            for (scores, wanted) in scores.iter().zip(plain(&gallery, 90, 0, how)) {
                let found: Vec<f64> = scores.iter().map(|&score| -f64::from(score)).collect();
                assert_close(&found, &wanted);
            }
            let ranks = rest.ranks_reranked(&Reranking::KReciprocal(how)).unwrap();
            let positive = |q: usize, id: usize| labels[q] == labels[id];
            assert_eq!(of(&ranks), sorted(&scores, positive, true));
        }
    }

    #[test]
    fn what_is_refused_and_what_is_small() {
        let (rows, labels) = clustered(12, 20, 3);
        let rest = Retrieval::each_against_rest(&rows, &labels).unwrap();
        let usual = KReciprocal::default();
        for how in [
            KReciprocal { k1: 0, ..usual },
            KReciprocal { k2: 0, ..usual },
            KReciprocal {
                lambda: 1.1,
                ..usual
            },
            KReciprocal {
                lambda: f64::NAN,
                ..usual
            },
        ] {
            let error = rest
                .ranks_reranked(&Reranking::KReciprocal(how))
                .unwrap_err();
            assert!(matches!(error, EvalError::InvalidSetting { .. }), "{error}");
        }
        let long = Embeddings::new(vec![2.0, 0.0, 0.0, 2.0], 2).unwrap();
        let long = Retrieval::each_against_rest(&long, &[0, 0]).unwrap();
        let error = long
            .ranks_reranked(&Reranking::KReciprocal(usual))
            .unwrap_err();
        assert!(matches!(error, EvalError::NotUnit { .. }));
        // Nothing but twins.
        let same = Embeddings::new([1.0, 0.0].repeat(5), 2).unwrap();
        let same = Retrieval::each_against_rest(&same, &[0, 1, 0, 1, 1]).unwrap();
        let ranks = same.ranks_reranked(&Reranking::KReciprocal(usual)).unwrap();
        assert_eq!(of(&ranks), of(&same.ranks().unwrap()));
    }
}
