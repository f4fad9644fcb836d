//! Ranks by the products of a Burn device.
//!
//! The device multiplies a block of queries with the whole gallery and compares each similarity with
//! those of the query's positives; what comes back are the positives' similarities and, for each,
//! two counts: how many items are above it, and how many are not below. Where the two show a tie,
//! or a query has many positives, its row of similarities comes back instead, and is counted as in
//! [`Retrieval::ranks`].
//!
//! Some devices round the factors of a product to fewer bits (TF32 on NVIDIA GPUs), whatever the
//! type of the tensor says. So one product of each query is compared with its value in f64. If they
//! are further apart than rounding in f32 explains, factors are split into two parts which the
//! device multiplies exactly, for three products instead of one; and if that does not help either,
//! it is an error.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::ranks::{Key, PositiveRanks, Row, TiedQuery};
use crate::{Embeddings, EvalError, Retrieval};

/// Similarities of a block on the device: 128 MiB.
const BLOCK_VALUES: usize = 1 << 25;

/// Queries of a block, at most.
const BLOCK_QUERIES: usize = 1_024;

/// Up to so many positives are compared on the device, one after the other.
const FEW: usize = 64;

impl Retrieval<'_> {
    /// As [`ranks`](Self::ranks), with the products and comparisons on a device of `B`.
    ///
    /// On a GPU, for large sets. On the CPU [`ranks`](Self::ranks) is faster. The similarity of a
    /// pair may differ from that of the CPU in its last bits, and with it the order of items that
    /// are equal but for rounding.
    ///
    /// Memory on the device: the gallery (twice where factors are split) and 128 MiB for each of the
    /// few arrays of a block.
    ///
    /// # Errors
    ///
    /// Those of [`ranks`](Self::ranks), and if the products of the device are less exact than f32.
    pub fn ranks_on<B: Backend>(&self, device: &B::Device) -> Result<PositiveRanks, EvalError> {
        let fitting = BLOCK_VALUES / self.gallery.rows();
        self.ranks_on_with::<B>(device, fitting.clamp(1, BLOCK_QUERIES), false)
    }

    /// `split`: whether factors are split from the start.
    fn ranks_on_with<B: Backend>(
        &self,
        device: &B::Device,
        block: usize,
        split: bool,
    ) -> Result<PositiveRanks, EvalError> {
        let mut products = Products::<B>::new(self, device, split);
        let mut lists = Vec::with_capacity(self.queries());
        let mut tied = Vec::new();
        for start in (0..self.queries()).step_by(block) {
            let queries = start..(start + block).min(self.queries());
            let similarities = products.of(queries.clone())?;
            for (ranks, of_query) in count(self, queries, similarities, device) {
                lists.push(ranks);
                tied.extend(of_query);
            }
        }
        let candidates = (0..self.queries())
            .map(|q| self.task.candidates(q))
            .collect();
        Ok(PositiveRanks::from_parts(&lists, candidates, tied))
    }
}

/// Ranks of a query's positives, and what ties make of them.
type Counted = (Vec<u32>, Option<TiedQuery>);

/// Ranks the positives of a block. `similarities`: `[queries, gallery]`.
fn count<B: Backend>(
    retrieval: &Retrieval<'_>,
    queries: Range<usize>,
    similarities: Tensor<B, 2>,
    device: &B::Device,
) -> Vec<Counted> {
    let positives: Vec<Vec<u32>> = (queries.clone())
        .map(|q| retrieval.task.positives_of(q).collect())
        .collect();
    let few = |ids: &&Vec<u32>| ids.len() <= FEW;
    let width = positives
        .iter()
        .filter(few)
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    let leaving: Vec<Vec<u32>> = (queries.clone())
        .map(|q| retrieval.task.leaving(q))
        .collect();

    let of_leaving = gather(&similarities, &leaving, usize::MAX, device);
    let of_positives = gather(&similarities, &positives, FEW, device);
    let counts = match &of_positives {
        Some(of_positives) => compare(&similarities, of_positives, width),
        None => Vec::new(),
    };
    let of_leaving = of_leaving.map(Lists::read);
    let of_positives = of_positives.map(Lists::read);

    let counted: Vec<Option<Vec<u32>>> = (positives.iter().zip(&leaving).enumerate())
        .map(|(row, (ids, leaving))| {
            if ids.len() > FEW {
                return None;
            }
            let values = |lists: &Option<(Vec<f32>, usize)>, count: usize| -> Vec<f32> {
                lists.as_ref().map_or_else(Vec::new, |(values, width)| {
                    values[row * width..][..count].to_vec()
                })
            };
            let own = values(&of_positives, ids.len());
            let gone = values(&of_leaving, leaving.len());
            let mut ranks = Vec::with_capacity(ids.len());
            for (place, &positive) in own.iter().enumerate() {
                let [above, not_below] = counts[row * width + place];
                let gone_above = gone.iter().filter(|&&item| item > positive).count() as u32;
                let gone_tied = gone.iter().filter(|&&item| item == positive).count() as u32;
                let above = above - gone_above;
                let tied = not_below - gone_above - gone_tied - above;
                // It ties with itself.
                if tied > 1 {
                    return None;
                }
                ranks.push(above + 1);
            }
            ranks.sort_unstable();
            Some(ranks)
        })
        .collect();

    let open: Vec<usize> = (0..counted.len())
        .filter(|&row| counted[row].is_none())
        .collect();
    let mut rows = count_rows(retrieval, queries.start, &open, similarities, device).into_iter();
    counted
        .into_iter()
        .map(|ranks| match ranks {
            Some(ranks) => (ranks, None),
            None => rows.next().unwrap_or_default(),
        })
        .collect()
}

/// Counts whole rows on the CPU. `rows` are those of the block.
fn count_rows<B: Backend>(
    retrieval: &Retrieval<'_>,
    first_query: usize,
    rows: &[usize],
    similarities: Tensor<B, 2>,
    device: &B::Device,
) -> Vec<Counted> {
    if rows.is_empty() {
        return Vec::new();
    }
    let numbers: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let numbers = TensorData::new(numbers, [rows.len()]);
    let numbers = Tensor::<B, 1, Int>::from_data(numbers, device);
    let values = floats(similarities.select(0, numbers));
    let kernel = Kernel::detect();
    let items = retrieval.gallery.rows();
    (values.par_chunks_exact(items).zip(rows))
        .map(|(values, row)| {
            let query = first_query + row;
            let mut values = values.to_vec();
            let keys = (retrieval.task)
                .positives_of(query)
                .map(|id| Key::new(values[id as usize], id))
                .collect();
            Row::new(&retrieval.task, query, keys).count(kernel, &mut values)
        })
        .collect()
}

/// The similarities of some gallery items of each query, padded to the longest list.
struct Lists<B: Backend> {
    /// `[queries, width]`
    values: Tensor<B, 2>,
    width: usize,
}

impl<B: Backend> Lists<B> {
    fn read(self) -> (Vec<f32>, usize) {
        (floats(self.values), self.width)
    }
}

/// `None` if all lists are empty or longer than `longest`; those that are longer are padding.
fn gather<B: Backend>(
    similarities: &Tensor<B, 2>,
    lists: &[Vec<u32>],
    longest: usize,
    device: &B::Device,
) -> Option<Lists<B>> {
    let fits = |ids: &&Vec<u32>| ids.len() <= longest;
    let width = lists
        .iter()
        .filter(fits)
        .map(Vec::len)
        .max()
        .filter(|&width| width > 0)?
        // Burn's Fusion (0.21) reads a wrong index where it computes a `gather` of one column together with
        // comparisons of whole rows.
        .max(2);
    let mut ids = vec![0_i32; lists.len() * width];
    for (row, list) in ids.chunks_exact_mut(width).zip(lists) {
        if list.len() <= longest {
            for (place, &id) in row.iter_mut().zip(list) {
                *place = id as i32;
            }
        }
    }
    let ids = TensorData::new(ids, [lists.len(), width]);
    let ids = Tensor::<B, 2, Int>::from_data(ids, device);
    Some(Lists {
        values: similarities.clone().gather(1, ids),
        width,
    })
}

/// For each query and positive, how many items are above it and how many are not below.
fn compare<B: Backend>(
    similarities: &Tensor<B, 2>,
    positives: &Lists<B>,
    width: usize,
) -> Vec<[u32; 2]> {
    let counts: Vec<Tensor<B, 2, Int>> = (0..width)
        .flat_map(|place| {
            let positive = positives.values.clone().narrow(1, place, 1);
            let above = similarities.clone().greater(positive.clone());
            let not_below = similarities.clone().greater_equal(positive);
            [above, not_below].map(|which| which.int().sum_dim(1))
        })
        .collect();
    if counts.is_empty() {
        return Vec::new();
    }
    let counts = Tensor::cat(counts, 1).into_data();
    let counts: Vec<u32> = counts.iter::<i64>().map(|count| count as u32).collect();
    counts.as_chunks().0.to_vec()
}

fn floats<B: Backend>(tensor: Tensor<B, 2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The products of queries with the gallery.
struct Products<'a, 'r, B: Backend> {
    retrieval: &'a Retrieval<'r>,
    device: &'a B::Device,
    /// `[dim, items]`, whole or in two parts.
    gallery: Vec<Tensor<B, 2>>,
}

impl<'a, 'r, B: Backend> Products<'a, 'r, B> {
    fn new(retrieval: &'a Retrieval<'r>, device: &'a B::Device, split: bool) -> Self {
        let mut products = Self {
            retrieval,
            device,
            gallery: Vec::new(),
        };
        products.upload(split);
        products
    }

    fn upload(&mut self, split: bool) {
        let gallery = &self.retrieval.gallery;
        let columns = |part: fn(f32) -> f32| {
            let (rows, dim) = (gallery.rows(), gallery.dim());
            // Transposed here, as some kernels are slow, or worse, on transposed factors.
            let mut values = vec![0.0; rows * dim];
            for (row, embedding) in gallery.as_slice().chunks_exact(dim).enumerate() {
                for (column, &value) in embedding.iter().enumerate() {
                    values[column * rows + row] = part(value);
                }
            }
            Tensor::from_data(TensorData::new(values, [dim, rows]), self.device)
        };
        self.gallery = match split {
            false => vec![columns(|value| value)],
            true => vec![columns(upper), columns(|value| value - upper(value))],
        };
    }

    /// `[queries, items]`
    fn of(&mut self, queries: Range<usize>) -> Result<Tensor<B, 2>, EvalError> {
        let similarities = self.multiply(queries.clone());
        if self.is_exact(queries.clone(), &similarities) {
            return Ok(similarities);
        }
        if self.gallery.len() == 1 {
            self.upload(true);
            let similarities = self.multiply(queries.clone());
            if self.is_exact(queries, &similarities) {
                return Ok(similarities);
            }
        }
        Err(EvalError::CoarseProducts)
    }

    fn multiply(&self, queries: Range<usize>) -> Tensor<B, 2> {
        let embeddings = &self.retrieval.queries;
        let dim = embeddings.dim();
        let values = &embeddings.as_slice()[queries.start * dim..queries.end * dim];
        let rows = |part: fn(f32) -> f32| {
            let values: Vec<f32> = values.iter().copied().map(part).collect();
            let data = TensorData::new(values, [queries.len(), dim]);
            Tensor::<B, 2>::from_data(data, self.device)
        };
        match &self.gallery[..] {
            [upper_items, lower_items] => {
                let (high, low) = (rows(upper), rows(|value| value - upper(value)));
                let small =
                    high.clone().matmul(lower_items.clone()) + low.matmul(upper_items.clone());
                high.matmul(upper_items.clone()) + small
            }
            whole => rows(|value| value).matmul(whole[0].clone()),
        }
    }

    /// Whether a product of each query is as near to that in f64 as sums in f32 are.
    fn is_exact(&self, queries: Range<usize>, similarities: &Tensor<B, 2>) -> bool {
        let (rows, items) = (&self.retrieval.queries, &self.retrieval.gallery);
        // Items spread over the gallery, so that each part of the device's work is looked at.
        let ids: Vec<Vec<u32>> = (queries.clone())
            .map(|q| vec![(q * 7919 % items.rows()) as u32])
            .collect();
        let Some(found) = gather(similarities, &ids, 1, self.device) else {
            return true;
        };
        let (found, width) = found.read();
        let mut squares = 0.0;
        for ((q, ids), found) in queries.clone().zip(&ids).zip(found.chunks(width)) {
            let [a, b] = [rows.row(q), items.row(ids[0] as usize)];
            let product: f64 = a
                .iter()
                .zip(b)
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum();
            let length = |row: &[f32]| -> f64 {
                row.iter()
                    .map(|&value| f64::from(value).powi(2))
                    .sum::<f64>()
                    .sqrt()
            };
            let scale = (length(a) * length(b)).max(f64::MIN_POSITIVE);
            squares += ((f64::from(found[0]) - product) / scale).powi(2);
        }
        let error = (squares / queries.len() as f64).sqrt();
        // A sum of so many terms, each rounded to 24 bits.
        error <= 2.0 * (rows.dim() as f64).sqrt() * (-24_f64).exp2()
    }
}

/// The upper eleven bits of the mantissa, which any device multiplies exactly.
fn upper(value: f32) -> f32 {
    f32::from_bits(value.to_bits() & 0xFFFF_E000)
}

impl Embeddings {
    /// The rows of a tensor, `[rows, dim]`.
    ///
    /// # Errors
    ///
    /// Those of [`Embeddings::new`].
    pub fn from_tensor<B: Backend>(tensor: Tensor<B, 2>) -> Result<Self, EvalError> {
        let dim = tensor.dims()[1];
        Self::new(floats(tensor), dim)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Cpu = burn_flex::Flex;

    fn embeddings(values: &[i8], dim: usize) -> Embeddings {
        let values = values.iter().map(|&value| f32::from(value) / 4.0).collect();
        Embeddings::new(values, dim).unwrap()
    }

    proptest! {
        /// Whose products are exact, so that both must agree on every tie.
        #[test]
        fn the_device_ranks_as_the_cpu(
            values in prop::collection::vec(-8i8..=8, 12..400),
            classes in 1i64..30,
            block in prop::sample::select(vec![1, 7, 200]),
            split in any::<bool>(),
            ignore in any::<bool>(),
        ) {
            let embeddings = embeddings(&values[..values.len() / 3 * 3], 3);
            let rows = embeddings.rows() as i64;
            let labels: Vec<i64> = (0..rows).map(|i| i * i % classes).collect();
            let mut retrieval = Retrieval::each_against_rest(&embeddings, &labels).unwrap();
            if ignore {
                let groups: Vec<i64> = (0..rows).map(|row| row % 4).collect();
                retrieval = retrieval
                    .ignore_group(&groups, &groups, crate::IgnoreGroup::SameClass)
                    .unwrap()
                    .junk((0..rows as u32).map(|row| vec![row / 2, 0]).collect())
                    .unwrap();
            }
            let device = Default::default();
            let ranks = retrieval.ranks_on_with::<Cpu>(&device, block, split).unwrap();
            prop_assert_eq!(ranks, retrieval.ranks().unwrap());
        }
    }

    #[test]
    fn classes_of_every_size_and_queries_apart() {
        let values: Vec<i8> = (0..600)
            .map(|i| ((i * i * 31 + 7 * i) % 17 - 8) as i8)
            .collect();
        let (queries, gallery) = (embeddings(&values[..120], 4), embeddings(&values, 4));
        // More positives than are compared on the device, few, and none.
        let gallery_labels: Vec<i64> = (0..150)
            .map(|i| if i % 2 == 0 { 0 } else { i % 9 })
            .collect();
        let query_labels: Vec<i64> = (0..30).map(|i| i % 11).collect();
        let retrieval =
            Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &gallery_labels);
        let retrieval = retrieval.unwrap();
        let device = Default::default();
        let ranks = retrieval.ranks_on::<Cpu>(&device).unwrap();
        assert_eq!(ranks, retrieval.ranks().unwrap());
        assert!(ranks.of(0).len() > FEW && ranks.of(9).is_empty());
    }

    #[test]
    fn lengths_that_f32_does_not_multiply() {
        let values: Vec<i8> = (0..400)
            .map(|i| ((i * i * 31 + 7 * i) % 17 - 8) as i8)
            .collect();
        let rows = embeddings(&values, 4);
        let values = (rows.as_slice().chunks(4).enumerate()).flat_map(|(at, row)| {
            let factor = 2.0_f32.powi((at as i32 * 53) % 161 - 100);
            row.iter().map(move |value| value * factor)
        });
        let rows = Embeddings::new(values.collect(), 4).unwrap();
        let labels: Vec<i64> = (0..100).map(|i| i % 7).collect();
        let retrieval = Retrieval::each_against_rest(&rows, &labels).unwrap();
        let ranks = retrieval.ranks_on::<Cpu>(&Default::default()).unwrap();
        assert_eq!(ranks, retrieval.ranks().unwrap());
    }

    #[test]
    fn parts_add_up_to_the_products() {
        let noise = |seed: u32| -> Vec<f32> {
            let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32;
            (0..40 * 64)
                .map(|i| value(i * i + i) / (1 << 23) as f32 - 1.0)
                .collect()
        };
        let queries = Embeddings::new(noise(1), 64).unwrap();
        let gallery = Embeddings::new(noise(99), 64).unwrap();
        let retrieval =
            Retrieval::query_against_gallery_with(&queries, &gallery, vec![vec![0]; 40]).unwrap();
        let device = Default::default();
        let [whole, parts] = [false, true].map(|split| {
            let mut products = Products::<Cpu>::new(&retrieval, &device, split);
            floats(products.of(0..40).unwrap())
        });
        for (whole, parts) in whole.iter().zip(parts) {
            assert!((whole - parts).abs() < 1e-4, "{whole} {parts}");
        }
    }

    #[test]
    fn a_device_that_rounds_factors_is_noticed() {
        // As if a device knew the upper bits only: the gallery that it was given is another one.
        let values: Vec<f32> = (0..64 * 32)
            .map(|i| ((i * 37 % 101) as f32 / 101.0) - 0.5)
            .collect();
        let embeddings = Embeddings::new(values.clone(), 64).unwrap();
        let retrieval =
            Retrieval::query_against_gallery_with(&embeddings, &embeddings, vec![vec![0]; 32]);
        let retrieval = retrieval.unwrap();
        let device = Default::default();
        let products = Products::<Cpu>::new(&retrieval, &device, false);
        assert!(products.is_exact(0..32, &products.multiply(0..32)));
        let rounded = Embeddings::new(values.into_iter().map(upper).collect(), 64).unwrap();
        let lists = vec![vec![0]; 32];
        let coarse = Retrieval::query_against_gallery_with(&rounded, &rounded, lists).unwrap();
        let coarse = Products::<Cpu>::new(&coarse, &device, false).multiply(0..32);
        assert!(!products.is_exact(0..32, &coarse));
    }
}
