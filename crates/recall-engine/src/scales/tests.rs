//! `xtask/peers/scales.py` made the fixture.

use burn_flex::Flex;
use safetensors::SafeTensors;

use super::*;

fn expected(name: &str) -> Vec<f32> {
    let bytes = include_bytes!("../../tests/fixtures/scales.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let four = file.tensor(name).unwrap().data().chunks_exact(4);
    four.map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// Numbers in [−1, 1) that depend on the name and the index alone.
fn formula(name: &str, count: usize) -> Vec<f64> {
    let hashed = name.bytes().fold(2_166_136_261_u32, |hashed, byte| {
        (hashed ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    (0..count as u32)
        .map(|index| {
            let mut x = index.wrapping_mul(2_654_435_761).wrapping_add(hashed);
            x ^= x >> 16;
            x = x.wrapping_mul(2_246_822_507);
            x ^= x >> 13;
            x = x.wrapping_mul(3_266_489_909);
            x ^= x >> 16;
            f64::from(x) / f64::from(1_u32 << 31) - 1.0
        })
        .collect()
}

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::from_data(
        TensorData::new(values, shape).convert::<f32>(),
        &Default::default(),
    )
}

fn numbers<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
}

const ANY: Sides = Sides {
    multiple_of: 1,
    at_least: 1,
};

#[test]
fn images_are_resized_as_pytorch_does_it() {
    for factor in [0.5_f64.sqrt(), 0.5, 0.3, 2_f64.sqrt()] {
        let images = tensor(formula("interpolated", 3 * 7 * 10), [1, 3, 7, 10]);
        let resized = ANY.resized(images, factor);
        let sides = [7.0, 10.0].map(|side| (side * factor) as usize);
        assert_eq!(resized.dims()[2..], sides);
        assert_near(
            &numbers(resized),
            &expected(&format!("interpolated.{factor:.4}")),
        );
    }
}

#[test]
fn sides_suit_the_model() {
    let sides = |multiple_of, at_least| Sides {
        multiple_of,
        at_least,
    };
    assert_eq!(ANY.scaled(1, 0.1).0, 1);
    assert_eq!(sides(1, 8).scaled(10, 0.5), (8, 1.25));
    assert_eq!(sides(14, 14).scaled(14, 0.5), (14, 1.0));
    assert_eq!(sides(14, 14).scaled(70, 0.5), (42, 70.0 / 42.0));
    let one = tensor(vec![0.25, -1.0, 2.0], [1, 3, 1, 1]);
    for factor in [0.1, 0.5, 3.0] {
        let resized = ANY.resized(one.clone(), factor);
        let side = ((factor as usize).max(1)).pow(2);
        let same = [0.25, -1.0, 2.0].map(|value| vec![value; side]).concat();
        assert_eq!(numbers(resized), same);
    }
}

#[test]
fn embeddings_are_combined_as_cirtorch_does_it() {
    let rows: Vec<Vec<f64>> = (0..3)
        .map(|scale| {
            let mut values = formula(&format!("rows {scale}"), 4 * 32);
            values.iter_mut().for_each(|x| *x = (*x + 1.0) / 2.0);
            for row in values.chunks_exact_mut(32) {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter_mut().for_each(|x| *x /= length);
            }
            values
        })
        .collect();
    for (power, name) in [(1.0, "1.0"), (2.92, "2.92"), (0.5, "0.5")] {
        let scales = Scales {
            power,
            ..Scales::default()
        };
        let sum = rows
            .iter()
            .map(|row| scales.raised(tensor(row.clone(), [4, 32])))
            .reduce(|sum, rows| sum + rows)
            .unwrap();
        assert_near(
            &numbers(scales.combined(sum)),
            &expected(&format!("combined.{name}")),
        );
    }
}

#[test]
fn a_number_below_zero_keeps_its_sign() {
    let scales = Scales {
        factors: vec![1.0, 0.5],
        power: 3.0,
    };
    let row = tensor(vec![0.6, -0.8, 0.0], [1, 3]);
    let sum = scales.raised(row.clone()) + scales.raised(row);
    assert_near(&numbers(scales.combined(sum)), &[0.6, -0.8, 0.0]);
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    assert_eq!(Scales::default().problem(), None);
    assert!(Scales::default().are_plain());
    for (factors, power, field) in [
        (vec![], 1.0, "factors"),
        (vec![1.0, 0.0], 1.0, "factors"),
        (vec![-1.0], 1.0, "factors"),
        (vec![f64::NAN], 1.0, "factors"),
        (vec![8.5], 1.0, "factors"),
        (vec![0.5], 0.0, "power"),
        (vec![0.5], f64::INFINITY, "power"),
        (vec![0.5], f64::NAN, "power"),
    ] {
        let scales = Scales { factors, power };
        assert_eq!(scales.problem().unwrap().0, field, "{scales:?}");
        assert!(scales.check().is_err());
    }
}
