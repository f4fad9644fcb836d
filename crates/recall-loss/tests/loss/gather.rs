use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor};
use burn_flex::Flex;
use recall_loss::plain::gather_in_rows;

type Backend = Autodiff<Flex>;

/// What is done for Fusion's sake changes neither a number nor a derivative.
#[test]
fn columns_are_those_of_gather() {
    let device = Default::default();
    for columns in [[2, 0, 2], [1, 1, 0]] {
        let columns = Tensor::<Backend, 1, Int>::from_ints(columns, &device);
        let one = columns.reshape([3, 1]);
        let two = Tensor::cat(vec![one.clone(), one.clone()], 1);
        for columns in [one, two] {
            let results = [true, false].map(|ours| {
                let values = Tensor::<Backend, 2>::from_floats(
                    [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]],
                    &device,
                )
                .require_grad();
                let found = match ours {
                    true => gather_in_rows(values.clone(), columns.clone()),
                    false => values.clone().gather(1, columns.clone()),
                };
                let sum = (found.clone() * found.clone()).sum();
                let gradient = values.grad(&sum.backward()).unwrap();
                (found.into_data(), gradient.into_data())
            });
            assert_eq!(results[0], results[1]);
        }
    }
}
