//! Against values that `xtask/peers/after_network.py` computed with NumPy, written apart.

use safetensors::SafeTensors;

use super::made::assert_close;
use super::reranking::Rescore;
use super::{
    DatabaseAugmentation, Diffusion, KReciprocal, PairWhitening, PcaWhitening, QueryExpansion,
};
use crate::{Embeddings, Retrieval};

const FILE: &str = "tests/reference/after_network.safetensors";

struct Peer(Vec<u8>);

impl Peer {
    fn read() -> Self {
        Self(std::fs::read(FILE).unwrap())
    }

    fn words<const N: usize>(&self, name: &str) -> Vec<[u8; N]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.tensor(name)
            .unwrap()
            .data()
            .as_chunks::<N>()
            .0
            .to_vec()
    }

    fn rows(&self, name: &str) -> Embeddings {
        let values = self.words(name).into_iter().map(f32::from_le_bytes);
        Embeddings::new(values.collect(), 6).unwrap()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        let values = self.words(name).into_iter().map(f32::from_le_bytes);
        values.map(f64::from).collect()
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// `found`, with the sign of each column as in `wanted`: a direction has two.
fn signed(found: &[f32], wanted: &[f64], dim: usize) -> Vec<f64> {
    let mut found = wide(found);
    for column in 0..dim {
        let along = found.iter().zip(wanted).skip(column).step_by(dim);
        if along.map(|(found, wanted)| found * wanted).sum::<f64>() < 0.0 {
            found
                .iter_mut()
                .skip(column)
                .step_by(dim)
                .for_each(|value| *value = -*value);
        }
    }
    found
}

#[test]
fn whitening() {
    let peer = Peer::read();
    let (queries, gallery) = (peer.rows("queries"), peer.rows("gallery"));
    let pairs: Vec<i64> = peer
        .words("pairs")
        .into_iter()
        .map(i64::from_le_bytes)
        .collect();
    let pairs: Vec<[u32; 2]> = pairs
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| pair.map(|row| row as u32))
        .collect();
    let pca = |dim, power| {
        let how = PcaWhitening {
            dim: Some(dim),
            power,
            shrinkage: 0.0,
        };
        how.learn(&gallery).unwrap()
    };
    let by_pairs = PairWhitening {
        dim: Some(5),
        shrinkage: 0.0,
    };
    let by_pairs = by_pairs.learn_from_pairs(&gallery, &pairs).unwrap();
    for (name, learned) in [
        ("pca", pca(4, 1.0)),
        ("pca_half", pca(6, 0.5)),
        ("pairs_white", by_pairs),
    ] {
        let (found, wanted) = (learned.apply(&queries).unwrap(), peer.numbers(name));
        assert_close(&signed(found.as_slice(), &wanted, learned.out()), &wanted);
    }
}

#[test]
fn expansion() {
    let peer = Peer::read();
    let (queries, gallery) = (peer.rows("queries"), peer.rows("gallery"));
    let none = vec![Vec::new(); queries.rows()];
    let retrieval =
        || Retrieval::query_against_gallery_with(&queries, &gallery, none.clone()).unwrap();
    let alpha = QueryExpansion {
        neighbours: 8,
        alpha: 3.0,
    };
    for (name, how) in [("expanded", alpha), ("average", QueryExpansion::average(4))] {
        let found = retrieval().expand_queries(&how).unwrap();
        assert_close(&wide(found.queries.as_slice()), &peer.numbers(name));
    }
    let how = DatabaseAugmentation {
        neighbours: 5,
        alpha: 2.0,
    };
    let found = retrieval().augment_gallery(&how).unwrap();
    assert_close(&wide(found.gallery.as_slice()), &peer.numbers("augmented"));
}

#[test]
fn re_ranking() {
    let peer = Peer::read();
    let (queries, gallery) = (peer.rows("queries"), peer.rows("gallery"));
    let none = vec![Vec::new(); queries.rows()];
    let retrieval = Retrieval::query_against_gallery_with(&queries, &gallery, none).unwrap();
    let how = KReciprocal {
        k1: 9,
        k2: 4,
        lambda: 0.3,
    };
    let encoded = how.prepare(&retrieval).unwrap();
    let scores = retrieval
        .rescored(&encoded, |_, scores| scores.to_vec())
        .concat();
    let distances: Vec<f64> = scores.iter().map(|&score| -f64::from(score)).collect();
    assert_close(&distances, &peer.numbers("k_reciprocal"));

    struct Same;
    impl Rescore for Same {
        type Scratch = ();
        fn rescore(&self, _: usize, _: &mut [f32], (): &mut ()) {}
    }
    let how = Diffusion {
        neighbours: 11,
        query_neighbours: 4,
        alpha: 0.9,
        shortlist: 50,
        iterations: 1000,
        tolerance: 1e-12,
        ..Diffusion::default()
    };
    let graph = how.prepare(&retrieval).unwrap();
    let similarities = retrieval.rescored(&Same, |_, scores| scores.to_vec());
    let mut found = vec![0.0; queries.rows() * gallery.rows()];
    for (q, row) in similarities.iter().enumerate() {
        let (items, solution) = graph.solve(q, row);
        for (item, value) in items.into_iter().zip(solution) {
            found[q * gallery.rows() + item as usize] = value;
        }
    }
    assert_close(&found, &peer.numbers("diffusion"));
}
